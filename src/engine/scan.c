/* scan.c - what the engine hears when it asks the kernel which pages of a slot were written.
 *
 * A slot is cleaned by that list (PAGEMAP_SCAN).  The engine rewrites the pages on it and gives
 * back what lies behind the place up to which the kernel has looked.  What the answer leaves out
 * survives into the slot's next tenant.  The engine's ioctl(2) is linked to the one below (--wrap),
 * which passes everything else on.
 *
 * First, the question is completed: every page that is present *or* swapped, and written.  The
 * engine asks for pages that are present; but a page is not while it is swapped out, nor for the
 * moment in which the kernel moves it elsewhere (compaction, NUMA balancing), when a migration
 * entry stands in its place.  Both are in the kernel's category "swapped".  One walk looks at each
 * page once, under its lock, so there is no gap between the two.  Clearing such a page brings it
 * back.
 *
 * Second, how many pages stay is decided here, by function (keep.c), and not by the engine's one
 * number: the kernel stops looking when it has found that many.  "Nothing found, and not looked
 * anywhere" makes the engine give back all of the slot.
 *
 * Third, pages lie scattered in many programs, and the engine takes 32 regions at most.  More are
 * asked for, and neighbours joined until they fit, with the untouched pages between them: rewriting
 * those costs less than the faults that giving back the rest would.
 *
 * Fourth, scanning is off while this process can be swapped: it is meant to be cheap, and a walk
 * that brings pages back from a disk is not.  Then nothing is ever found, and all is given back. */
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engine/private.h"

/* --- the question ----------------------------------------------------------------------------- */

/* linux/fs.h of Linux 6.7, which may be newer than the headers here. */
struct scan_question {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;       /* all of these */
    uint64_t category_anyof_mask; /* and one of these, if there are any */
    uint64_t return_mask;
};

#define SCAN_REQUEST _IOWR('f', 16, struct scan_question)
#define PAGE_PRESENT (UINT64_C(1) << 3)
#define PAGE_SWAPPED (UINT64_C(1) << 4)

#define REGIONS_MAX 256 /* that are asked for */
#define JOINED_SHARE 4  /* of the pages that joined regions have, at least one is written */

struct region {
    uint64_t start;
    uint64_t end;
    uint64_t categories;
};

/* Of the process, as the engine's pool is. */
static atomic_bool switched_off;

/* The slot that is being cleaned by this thread. */
static _Thread_local struct {
    struct fm_keep_pool *pool; /* NULL: none */
    struct fm_keep *keep;
    uint64_t base;
} cleaning;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static uint64_t pages_of(const struct region *region)
{
    return (region->end - region->start) / FM_KEEP_PAGE_BYTES;
}

/* Joins those with at most `gap` pages between them.  Returns how many are left. */
static size_t join(struct region *regions, size_t count, uint64_t gap)
{
    size_t last = 0;
    for (size_t i = 1; i < count; i++) {
        if (regions[i].start - regions[last].end <= gap * FM_KEEP_PAGE_BYTES)
            regions[last].end = regions[i].end;
        else
            regions[++last] = regions[i];
    }
    return last + 1;
}

static uint64_t sum_pages(const struct region *regions, size_t count)
{
    uint64_t pages = 0;
    for (size_t i = 0; i < count; i++)
        pages += pages_of(&regions[i]);
    return pages;
}

/* Makes them at most `count_max`.  Those that do not fit are cut off, and the question says that
 * nothing behind was looked at. */
static size_t fit(struct region *regions, size_t count, size_t count_max,
                  struct scan_question *question)
{
    struct region joined[REGIONS_MAX];
    uint64_t written = sum_pages(regions, count);
    memcpy(joined, regions, count * sizeof(*regions));
    size_t joined_count = count;
    uint64_t gap = 1;
    for (; joined_count > count_max; gap *= 2)
        joined_count = join(joined, joined_count, gap);
    if (sum_pages(joined, joined_count) <= written * JOINED_SHARE) {
        memcpy(regions, joined, joined_count * sizeof(*regions));
        return joined_count;
    }
    question->walk_end = regions[count_max - 1].end;
    return count_max;
}

static int ask_kernel(int fd, struct scan_question *question, uint64_t pages_max,
                      uint64_t *ret_pages)
{
    struct region regions[REGIONS_MAX];
    struct scan_question wider = *question;
    wider.vec = (uint64_t)(uintptr_t)regions;
    wider.vec_len = REGIONS_MAX;
    wider.max_pages = pages_max;
    if ((wider.category_mask & PAGE_PRESENT) && !(wider.category_inverted & PAGE_PRESENT)) {
        wider.category_mask &= ~PAGE_PRESENT;
        wider.category_anyof_mask |= PAGE_PRESENT | PAGE_SWAPPED;
    }
    int found = __real_ioctl(fd, SCAN_REQUEST, &wider);
    if (found < 0)
        return found;
    size_t count = (size_t)found;
    question->walk_end = wider.walk_end;
    if (count > question->vec_len)
        count = fit(regions, count, question->vec_len, question);
    memcpy((void *)(uintptr_t)question->vec, regions, count * sizeof(*regions));
    *ret_pages = sum_pages(regions, count);
    return (int)count;
}

static int answer(int fd, struct scan_question *question)
{
    bool ours = cleaning.pool && question->start == cleaning.base;
    uint64_t pages_max = question->max_pages;
    if (ours)
        pages_max = fm_keep_ask(cleaning.pool, cleaning.keep, cleaning.base);
    if (pages_max == 0 || atomic_load_explicit(&switched_off, memory_order_relaxed)) {
        question->walk_end = question->start;
        return 0;
    }
    uint64_t pages = 0;
    int found = ask_kernel(fd, question, pages_max, &pages);
    if (ours && found >= 0)
        fm_keep_tell(cleaning.pool, cleaning.keep, cleaning.base, (uint32_t)pages,
                     question->walk_end == question->end);
    return found;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return request == SCAN_REQUEST ? answer(fd, argument) : __real_ioctl(fd, request, argument);
}

void fm_scan_begin(struct fm_module *module, const uint8_t *base)
{
    cleaning.pool = module->engine->keep_pool;
    cleaning.keep = &module->keep;
    cleaning.base = (uint64_t)(uintptr_t)base;
}

void fm_scan_end(void)
{
    cleaning.pool = NULL;
}

/* --- the switch ------------------------------------------------------------------------------- */

void fm_scan_init(const struct fm_engine *engine)
{
    atomic_store(&switched_off, !engine->config.page_scanning);
}

bool fm_engine_page_scanning(const struct fm_engine *engine)
{
    return engine->config.pooled && engine->config.page_scanning && !atomic_load(&switched_off);
}

bool fm_engine_page_scanning_set(struct fm_engine *engine, bool on)
{
    if (!engine->config.pooled || !engine->config.page_scanning)
        return false;
    atomic_store(&switched_off, !on);
    return true;
}
