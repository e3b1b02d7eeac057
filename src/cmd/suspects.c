/* suspects.c - a few lines of shared memory.
 *
 * Anonymous and shared, so that a fork inherits it and nothing has to be passed or opened.  Each
 * slot has a cache line of its own: workers write theirs twice a slice.
 *
 * A list and not only the slots, because the server that gets it may die before it has looked.
 *
 * Threading: a slot is its worker's; the rest is the supervisor's only thread. */
#include "cmd/suspects.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/error.h"

#define LINE_BYTES 64

struct slot {
    volatile struct fm_id id; /* high 0: no guest has the thread */
    char pad[LINE_BYTES - sizeof(struct fm_id)];
};

struct fm_suspects {
    struct slot *slots; /* shared */
    unsigned workers;
    size_t count;
    size_t room;
    struct fm_id list[];
};

int fm_suspects_new(unsigned workers, struct fm_suspects **ret_suspects)
{
    size_t room = 4 * (size_t)workers; /* of servers that crash before they are ready */
    struct fm_suspects *suspects = calloc(1, sizeof(*suspects) + room * sizeof(struct fm_id));
    if (!suspects)
        return FM_ERR_NOMEM;
    suspects->slots = mmap(NULL, workers * sizeof(struct slot), PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (suspects->slots == MAP_FAILED) {
        free(suspects);
        return FM_ERR_NOMEM;
    }
    suspects->workers = workers;
    suspects->room = room;
    *ret_suspects = suspects;
    return 0;
}

struct fm_suspects *fm_suspects_free(struct fm_suspects *suspects)
{
    if (!suspects)
        return NULL;
    (void)munmap(suspects->slots, suspects->workers * sizeof(struct slot)); /* it is ours */
    free(suspects);
    return NULL;
}

volatile struct fm_id *fm_suspects_slot(struct fm_suspects *suspects, unsigned worker)
{
    FM_ASSERT(worker < suspects->workers);
    return &suspects->slots[worker].id;
}

static bool own_fault(int status)
{
    if (!WIFSIGNALED(status))
        return false;
    switch (WTERMSIG(status)) {
    case SIGSEGV:
    case SIGABRT:
    case SIGILL:
    case SIGBUS:
    case SIGFPE:
        return true;
    default:
        return false;
    }
}

void fm_suspects_collect(struct fm_suspects *suspects, int status)
{
    for (unsigned i = 0; i < suspects->workers; i++) {
        volatile struct fm_id *slot = &suspects->slots[i].id;
        if (slot->high != 0 && own_fault(status) && suspects->count < suspects->room)
            suspects->list[suspects->count++] = (struct fm_id){slot->high, slot->low};
        slot->high = 0;
        slot->low = 0;
    }
}

const struct fm_id *fm_suspects_list(const struct fm_suspects *suspects, size_t *ret_count)
{
    *ret_count = suspects->count;
    return suspects->list;
}

void fm_suspects_forget(struct fm_suspects *suspects)
{
    suspects->count = 0;
}
