/* children.c - calls that calls have started: how they run, what their parent hears, how they end.
 *
 *      parent (level 0) --call_start--> child (level 1) --call_start--> child (level 2) ...
 *         |                                |
 *         +-- waits, PARKED <-- wakes -----+-- ends: outcome and output stay here
 *
 * A child is a call like any other and comes through the same door.  It never runs inline, since
 * its parent has the thread: it runs when that parks or its slice is over, mostly in the same pass
 * of the loop, and the parent right after the children that it was woken by.  What came of it is
 * copied out of the call at its end, so that the call can be used again at once, and kept until the
 * parent has ended.  Its output goes nowhere else.
 *
 * No deadlock.  A parent keeps its sandbox while it waits, and its child needs another: with a
 * fixed number of them, parents could hold them all and wait for ever.  So a sandbox needs a
 * ticket (fm_task.sandbox), and of these there are S + D on a worker: S slots, and D = await_depth,
 * the deepest level that the door admits (deeper is refused: FM_ERR_BUSY).  The rule, for a call of
 * level l:
 *
 *      it takes a ticket only while fewer than S + l are given out.
 *
 * Calls that are no children (l = 0) see just the S slots, as if there were no children.  Suppose
 * that all that hold tickets wait for children, and none of these can take one.  Let m be the
 * deepest level that holds any, and look at the last of the present holders to have taken its own:
 * its level was at most m, so at most S + m were given out when it had; whoever took one later has
 * given it back.  So no more than S + m are out now, and a child of the holder of level m (which
 * has one, since it waits; so m < D) has level m + 1 and may take a ticket.  Hence some call can
 * always go on.  The same holds over several workers, if all have the same D and keep to the rule,
 * wherever a child's parent is: then look at the worker on which the child of the deepest holder
 * of all waits.  A child that waits for its module, or for a timer, waits for nobody's ticket.
 *
 * Discarded: to keep the D within the slots, since then a tree could only start while half of a
 * small server is idle; to wait with a start until the whole tree has room, since nobody knows how
 * large it becomes; to let a child take over its parent's sandbox, since there is only one of it
 * and the parent is in the middle of something.
 *
 * Order.  A ticket that comes back goes to children first (no other call may take one while any of
 * them waits, by the rule), the deepest first, so that what has begun ends; among children of one
 * level it goes round between parents, so that one with a thousand children does not keep the
 * others waiting.  A child with a ticket enters the run queue as a call that has started.
 *
 * The end.  A child's deadline is never later than its parent's.  When the parent ends, in whatever
 * way, its children are orphans: they are of no use to anybody, and are cancelled.  That may take
 * some time (each has a sandbox to clear), so the parent's answer does not wait for it: orphans
 * stand in a list which the next turns work off, each within its share of time.  The children of an
 * orphan become orphans when it is cancelled, and join the list: no recursion.
 *
 * What a child chained (chain()) is stored as if it had not been a child, and it has ended for its
 * parent only when that is on disk, or will never be: then it ends with the reason.  Meanwhile its
 * call is DONE and stays, though its sandbox is free.  If the parent ends in the middle the child
 * has succeeded all the same, and what it chained is run.
 *
 * A call that can start calls never leaves its worker; its children may, and come home to end.
 *
 * Lifetime: a set of children is made with the first and goes when its parent has ended and none of
 * them is under way.  Threading: the worker's. */
#include "sched/children.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/name.h"
#include "call/under_way.h"

#define COPY_BYTES_MAX (64 * FM_KIB) /* of an output; larger ones are taken over instead */
#define FREE_AT_ONCE_MAX 100         /* ended children of a parent that ends */
#define ROOM_MIN 8                   /* children of a new set; doubled as they come */

struct child {
    struct fm_child seen; /* by the parent's guest */
    struct fm_children *set;
    struct fm_call *call; /* NULL once it has ended */
    uint8_t *input;
    struct fm_list link;            /* in set->under_way */
    struct fm_under_way_call known; /* to those who ask for it by id */
};

struct fm_children {
    struct fm_sched *sched;
    struct fm_call *parent;  /* NULL: it has ended */
    char *principal;         /* the parent's; children can outlive its owner */
    struct child **children; /* by handle - 1 */
    uint32_t count;
    uint32_t room;
    uint32_t running;         /* submitted and not yet ended */
    uint64_t ended;           /* so far */
    uint64_t bytes;           /* held: inputs of those under way, outputs of those ended */
    struct fm_list under_way; /* child.link; of orphans those not yet cancelled */
    struct fm_list crowded;   /* fm_task.link: children without a ticket */
    struct fm_list crowd;     /* in sched->crowds while `crowded` is not empty */
    struct fm_list orphan;    /* in sched->orphans */
};

/* --- the set ---------------------------------------------------------------------------------- */

static struct fm_children *set_new(struct fm_task *parent)
{
    struct fm_children *set = calloc(1, sizeof(*set));
    char *principal = strdup(parent->call->principal);
    if (!set || !principal) {
        free(principal);
        free(set);
        return NULL;
    }
    set->sched = parent->sched;
    set->parent = parent->call;
    set->principal = principal;
    fm_list_init(&set->under_way);
    fm_list_init(&set->crowded);
    fm_list_init(&set->crowd);
    fm_list_init(&set->orphan);
    return set;
}

static void set_free(struct fm_children *set)
{
    FM_ASSERT(!set->parent && set->running == 0);
    for (uint32_t i = 0; i < set->count; i++) {
        free(set->children[i]->seen.output);
        free(set->children[i]);
    }
    free(set->children);
    free(set->principal);
    free(set);
}

static bool make_room(struct fm_children *set)
{
    if (set->count < set->room)
        return true;
    uint32_t room = set->room ? 2 * set->room : ROOM_MIN;
    struct child **children = realloc(set->children, room * sizeof(struct child *));
    if (!children)
        return false;
    set->children = children;
    set->room = room;
    return true;
}

/* --- the end of a child ----------------------------------------------------------------------- */

/* A copy of exactly its size, so that the call keeps its buffer for the next; where that would cost
 * more than it saves the buffer itself.  False: no memory. */
static bool take_output(struct fm_child *seen, struct fm_buffer *output)
{
    size_t bytes = output->length;
    if (bytes == 0)
        return true;
    if (bytes > COPY_BYTES_MAX) {
        seen->output = fm_buffer_take(output, &seen->output_bytes);
        uint8_t *fitting = realloc(seen->output, bytes);
        seen->output = fitting ? fitting : seen->output; /* it can only shrink: keep what we have */
        return true;
    }
    seen->output = malloc(bytes);
    if (!seen->output)
        return false;
    memcpy(seen->output, output->data, bytes);
    seen->output_bytes = bytes;
    return true;
}

/* An outcome that is replaced: what the guest can no longer be given is no success. */
static void fail(struct fm_child *seen, int error)
{
    if (seen->error == 0 || seen->error == FM_ERR_GUEST_EXIT)
        seen->error = error;
}

static void keep_outcome(struct child *child, struct fm_call *call, int error)
{
    struct fm_children *set = child->set;
    struct fm_child *seen = &child->seen;
    seen->error = error;
    seen->exit_code = call->exit_code;
    if (call->output.length > set->parent->limits.children_bytes - set->bytes)
        fail(seen, FM_ERR_GUEST_LIMIT);
    else if (!take_output(seen, &call->output))
        fail(seen, FM_ERR_NOMEM);
    set->bytes += seen->output_bytes;
    seen->ended = true;
    seen->order = ++set->ended;
}

static void drop_input(struct child *child)
{
    child->set->bytes -= child->call->input_bytes;
    free(child->input);
    child->input = NULL;
}

/* All that follows from it is on disk, or never will be.  `chains` NULL: it chained nothing. */
static void child_over(struct child *child, const struct fm_sched_chains *chains)
{
    struct fm_children *set = child->set;
    struct fm_sched *sched = set->sched;
    struct fm_call *call = child->call;
    fm_sched_remember(sched, call, chains ? &chains->error : NULL, chains ? chains->children : NULL,
                      chains ? chains->children_count : 0);
    if (sched->config.under_way)
        fm_under_way_end(sched->config.under_way, &child->known);
    fm_list_remove(&child->link);
    drop_input(child);
    if (set->parent)
        keep_outcome(child, call, chains ? chains->error.code : call->error);
    child->call = NULL;
    fm_sched_call_free(sched, call);
    set->running--;

    if (set->parent) {
        struct fm_task *parent = set->parent->task;
        bool awaited = child->seen.awaited > 0 && child->seen.awaited == set->parent->waits;
        if (awaited && parent->place == FM_TASK_PARKED && !parent->read)
            fm_task_wake(parent);
    } else if (set->running == 0 && !fm_list_linked(&set->orphan)) {
        set_free(set);
    }
}

/* --- what a child chained --------------------------------------------------------------------- */

struct chaining {
    struct fm_sched_chains chains;
    struct child *child;
};

static void end_chaining(struct chaining *chaining)
{
    child_over(chaining->child, &chaining->chains);
    free(chaining->chains.children);
    free(chaining);
}

static void on_chains_stored(struct fm_sched_chains *chains)
{
    struct chaining *chaining = FM_CONTAINER_OF(chains, struct chaining, chains);
    chaining->child->set->sched->chaining--;
    end_chaining(chaining);
}

static int store_chains(const struct fm_sched *sched, struct fm_sched_chains *chains)
{
    if (!sched->config.chains)
        return fm_error_set(&chains->error, FM_ERR_BUSY, "no chained call can be started here");
    return sched->config.chains(sched->config.data, chains);
}

static void on_child_done(struct fm_call *call)
{
    struct child *child = call->owner;
    struct fm_sched *sched = child->set->sched;
    if (FM_LIKELY(call->error || call->chains_count == 0)) {
        child_over(child, NULL);
        return;
    }
    struct chaining *chaining = calloc(1, sizeof(*chaining));
    if (!chaining) {
        static const struct fm_sched_chains no_memory = {.error = {FM_ERR_NOMEM, "out of memory"}};
        child_over(child, &no_memory);
        return;
    }
    chaining->child = child;
    chaining->chains.call = call;
    chaining->chains.on_done = on_chains_stored;
    if (store_chains(sched, &chaining->chains) != 0)
        end_chaining(chaining);
    else
        sched->chaining++;
}

/* --- the start of a child --------------------------------------------------------------------- */

/* Everything but the memory. */
static int check(const struct fm_task *parent, const struct fm_version *version, size_t input_bytes)
{
    const struct fm_call *call = parent->call;
    const struct fm_limits *limits = &call->limits;
    uint64_t held = parent->children ? parent->children->bytes : 0;
    if (input_bytes > version->limits.input_bytes)
        return FM_ERR_TOO_LARGE;
    if (call->depth >= limits->chain_depth ||
        (uint64_t)call->chains_count + call->children_started >= limits->chain_fanout ||
        input_bytes > limits->children_bytes - held)
        return FM_ERR_QUOTA;
    return parent->level >= parent->sched->config.await_depth ? FM_ERR_BUSY : 0;
}

/* A child with its call, in nobody's list yet.  NULL: no memory. */
static struct child *child_new(struct fm_children *set, struct fm_function *function,
                               const uint8_t *input, size_t input_bytes)
{
    struct child *child = calloc(1, sizeof(*child));
    uint8_t *copy = malloc(input_bytes ? input_bytes : 1);
    struct fm_call *call = NULL;
    if (!child || !copy || fm_sched_call_new(set->sched, function, &call) != 0) {
        free(copy);
        free(child);
        return NULL;
    }
    if (input_bytes > 0)
        memcpy(copy, input, input_bytes);
    child->set = set;
    child->call = call;
    child->input = copy;
    fm_list_init(&child->link);

    const struct fm_call *parent = set->parent;
    call->parent = parent->id;
    call->depth = parent->depth + 1;
    call->deadline_ns = fm_min_u64(call->deadline_ns, parent->deadline_ns);
    call->principal = set->principal;
    call->input = copy;
    call->input_bytes = input_bytes;
    call->owner = child;
    call->on_done = on_child_done;
    struct fm_task *task = call->task;
    task->level = ((struct fm_task *)parent->task)->level + 1;
    set->bytes += input_bytes;
    return child;
}

/* Its call was refused at the door.  Returns why. */
static int child_refused(struct child *child)
{
    int error = child->call->error;
    drop_input(child);
    fm_sched_call_free(child->set->sched, child->call);
    free(child);
    return error;
}

static int64_t start(struct fm_call *call, const char *name, size_t name_length,
                     const uint8_t *input, size_t input_bytes)
{
    struct fm_task *parent = call->task;
    struct fm_sched *sched = parent->sched;
    FM_ASSERT(call->pinned && parent->home == sched);
    if (!fm_name_valid(name, name_length))
        return FM_ERR_BAD_NAME;
    const char *user = call->version->user;
    struct fm_function *function = fm_sched_function(sched, user, strlen(user), name, name_length);
    if (!function)
        return FM_ERR_NOT_FOUND;
    int failed = check(parent, fm_function_version(function), input_bytes);
    if (failed)
        return failed;
    if (!parent->children)
        parent->children = set_new(parent);
    struct fm_children *set = parent->children;
    if (!set || !make_room(set))
        return FM_ERR_NOMEM;
    struct child *child = child_new(set, function, input, input_bytes);
    if (!child)
        return FM_ERR_NOMEM;
    struct fm_id id = child->call->id;
    if (fm_sched_submit(sched, child->call) == FM_SUBMIT_DONE)
        return child_refused(child);
    set->children[set->count++] = child;
    set->running++;
    fm_list_push_back(&set->under_way, &child->link);
    if (sched->config.under_way)
        fm_under_way_begin(sched->config.under_way, &child->known, child->call);
    fm_call_child_add(call, id);
    return set->count;
}

static struct fm_child *find(struct fm_call *call, int64_t handle)
{
    const struct fm_task *parent = call->task;
    const struct fm_children *set = parent->children;
    if (!set || handle < 1 || handle > set->count)
        return NULL;
    return &set->children[handle - 1]->seen;
}

const struct fm_child_ops fm_children_ops = {.start = start, .find = find};

/* --- tickets ---------------------------------------------------------------------------------- */

static struct fm_children *set_of(const struct fm_task *task)
{
    const struct child *child = task->call->owner;
    return child->set;
}

void fm_children_crowd(struct fm_task *task)
{
    struct fm_sched *sched = task->sched;
    struct fm_children *set = set_of(task);
    if (fm_list_empty(&set->crowded))
        fm_list_push_back(&sched->crowds[task->level - 1], &set->crowd);
    fm_list_push_back(&set->crowded, &task->link);
    sched->crowded++;
}

void fm_children_uncrowd(struct fm_task *task)
{
    struct fm_children *set = set_of(task);
    fm_list_remove(&task->link);
    if (fm_list_empty(&set->crowded))
        fm_list_remove(&set->crowd);
    task->sched->crowded--;
}

/* The first child of the set that has waited longest; the set goes to the end. */
static struct fm_task *next_crowded(struct fm_list *crowd)
{
    struct fm_children *set = FM_LIST_ENTRY(crowd->next, struct fm_children, crowd);
    struct fm_task *task = FM_LIST_ENTRY(set->crowded.next, struct fm_task, link);
    fm_children_uncrowd(task);
    if (fm_list_linked(&set->crowd)) {
        fm_list_remove(&set->crowd);
        fm_list_push_back(crowd, &set->crowd);
    }
    return task;
}

void fm_children_admit(struct fm_sched *sched)
{
    for (uint32_t level = sched->config.await_depth; level > 0 && sched->crowded > 0; level--) {
        struct fm_list *crowd = &sched->crowds[level - 1];
        while (!fm_list_empty(crowd) && fm_sandbox_free_for(sched, level))
            fm_task_ready(next_crowded(crowd)); /* which takes the sandbox */
    }
}

/* --- orphans ---------------------------------------------------------------------------------- */

void fm_children_orphan(struct fm_children *set)
{
    set->parent = NULL;
    if (set->running == 0 && set->count <= FREE_AT_ONCE_MAX)
        set_free(set);
    else
        fm_list_push_back(&set->sched->orphans, &set->orphan);
}

/* One step of the end of a set: cancels a child, or lets go of the set. */
static void reap_one(struct fm_sched *sched)
{
    struct fm_children *set = FM_LIST_ENTRY(sched->orphans.next, struct fm_children, orphan);
    struct fm_list *link = fm_list_pop_front(&set->under_way);
    if (link) {
        const struct child *child = FM_LIST_ENTRY(link, struct child, link);
        fm_sched_cancel(sched, child->call, FM_ERR_CANCELLED);
        return;
    }
    fm_list_remove(&set->orphan);
    if (set->running == 0)
        set_free(set);
    /* else the last of them to end does it */
}

/* Clearing a sandbox is charged where it is done; this is for the rest, which is little but may be
 * much of it. */
void fm_children_reap(struct fm_sched *sched, bool all)
{
    while (!fm_list_empty(&sched->orphans) && (all || sched->pass_guest_ns < FM_SLICE_MIN_NS)) {
        uint64_t before_ns = sched->pass_guest_ns;
        uint64_t start_ns = fm_clock_thread_cpu_ns();
        reap_one(sched);
        sched->pass_guest_ns = before_ns + (fm_clock_thread_cpu_ns() - start_ns);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

int fm_children_init(struct fm_sched *sched)
{
    fm_list_init(&sched->orphans);
    if (sched->config.await_depth == 0)
        return 0;
    sched->crowds = calloc(sched->config.await_depth, sizeof(*sched->crowds));
    if (!sched->crowds)
        return FM_ERR_NOMEM;
    for (uint32_t i = 0; i < sched->config.await_depth; i++)
        fm_list_init(&sched->crowds[i]);
    return 0;
}

void fm_children_done(struct fm_sched *sched)
{
    FM_ASSERT(sched->crowded == 0);
    free(sched->crowds);
}
