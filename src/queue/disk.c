/* disk.c - when the store has trouble, and what it may forget.
 *
 * After a write that failed because of the disk or for want of memory, no attempt is claimed for a
 * while, and ends that could not be written are kept and written again after the same while: 100 ms
 * at first, doubled with each failure in a row up to 10 s.  New calls are still handed to the
 * store: whoever asks gets its answer (507), and the first one that succeeds ends the trouble.
 *
 * Calls that have ended are forgotten by the store when it is told to: at the time that it named
 * last, or when this worker has ended another thousand; at most once a second.  Every worker does
 * so, which costs a question of the index each.
 *
 * Threading: the worker's. */
#include "base/clock.h"
#include "queue/private.h"

#define NEVER UINT64_MAX
#define PAUSE_MIN_NS (100 * FM_NS_PER_MS)
#define PAUSE_MAX_NS (10 * FM_NS_PER_S)
#define FORGET_EVERY_NS FM_NS_PER_S
#define FORGET_ENDS_MAX 1000

static void set(struct fm_queue *queue, struct fm_timer *timer, uint64_t at_ns)
{
    int failed = fm_loop_timer_set(queue->config.loop, timer, at_ns);
    FM_ASSERT(!failed); /* it is armed, or has just fired */
}

/* --- trouble ---------------------------------------------------------------------------------- */

static bool is_trouble(int error)
{
    return error && error != FM_ERR_CONFLICT && error != FM_ERR_NOT_FOUND &&
           error != FM_ERR_TOO_LARGE && error != FM_ERR_BAD_REQUEST;
}

void fm_disk_answer(struct fm_queue *queue, int error)
{
    queue->counts.writes++;
    queue->counts.write_errors += is_trouble(error);
    if (!is_trouble(error)) {
        if (queue->disk_failures > 0) /* at once, then */
            set(queue, &queue->disk, fm_clock_monotonic_ns());
        queue->disk_failures = 0;
        return;
    }
    if (queue->disk_paused)
        return;
    queue->disk_paused = true;
    uint64_t pause_ns = PAUSE_MAX_NS;
    if (queue->disk_failures < 7)
        pause_ns = fm_min_u64(PAUSE_MIN_NS << queue->disk_failures, PAUSE_MAX_NS);
    queue->disk_failures++;
    set(queue, &queue->disk, fm_clock_monotonic_ns() + pause_ns);
}

static void on_disk_time(struct fm_timer *timer)
{
    struct fm_queue *queue = FM_CONTAINER_OF(timer, struct fm_queue, disk);
    set(queue, timer, NEVER);
    queue->disk_paused = false;
    if (queue->stopped)
        return;
    fm_attempt_write_again(queue);
    fm_queue_pump(queue);
}

/* --- forgetting ------------------------------------------------------------------------------- */

static void forget_at(struct fm_queue *queue, uint64_t at_ns)
{
    if (queue->forget_timer.at_ns > at_ns)
        set(queue, &queue->forget_timer, at_ns);
}

static void forget_when(struct fm_queue *queue, uint64_t real_ns)
{
    uint64_t now_real_ns = fm_clock_real_ns();
    uint64_t left_ns = real_ns > now_real_ns ? real_ns - now_real_ns : 0;
    left_ns = fm_min_u64(fm_max_u64(left_ns, FORGET_EVERY_NS), NEVER / 2);
    forget_at(queue, fm_clock_monotonic_ns() + left_ns);
}

static void on_forgotten(struct fm_calls_write *write)
{
    struct fm_calls_forget *forget = FM_CONTAINER_OF(write, struct fm_calls_forget, write);
    struct fm_queue *queue = FM_CONTAINER_OF(forget, struct fm_queue, forget);
    queue->forgetting = false;
    queue->busy--;
    queue->counts.writes++;
    queue->counts.forgotten += forget->forgotten;
    uint64_t now_ns = fm_clock_monotonic_ns();
    if (queue->forget_again)
        forget_at(queue, now_ns + FORGET_EVERY_NS);
    queue->forget_again = false;
    if (write->error)
        forget_at(queue, now_ns + PAUSE_MAX_NS);
    else if (forget->more)
        forget_at(queue, now_ns);
    else if (forget->next_real_ns > 0)
        forget_when(queue, forget->next_real_ns);
}

static void on_forget_time(struct fm_timer *timer)
{
    struct fm_queue *queue = FM_CONTAINER_OF(timer, struct fm_queue, forget_timer);
    set(queue, timer, NEVER);
    if (queue->draining)
        return;
    if (queue->forgetting) { /* a slow disk: what this was for may have come too late for it */
        queue->forget_again = true;
        return;
    }
    queue->forgetting = true;
    queue->busy++;
    queue->ends_since = 0;
    queue->forget = (struct fm_calls_forget){
        .write = {.on_done = on_forgotten},
        .now_real_ns = fm_clock_real_ns(),
        .rows_max = queue->config.stored_rows_max,
        .bytes_max = queue->config.stored_bytes_max,
    };
    fm_calls_forget(queue->config.calls, &queue->forget, fm_loop_mailbox(queue->config.loop));
}

void fm_forget_note(struct fm_queue *queue, uint64_t keep_until_real_ns)
{
    queue->ends_since++;
    forget_when(queue, queue->ends_since < FORGET_ENDS_MAX ? keep_until_real_ns : 0);
}

/* --- life ------------------------------------------------------------------------------------- */

void fm_disk_init(struct fm_queue *queue)
{
    fm_list_init(&queue->unwritten);
    fm_timer_init(&queue->disk, on_disk_time);
    fm_timer_init(&queue->forget_timer, on_forget_time);
}

int fm_disk_start(struct fm_queue *queue)
{
    struct fm_loop *loop = queue->config.loop;
    int failed = fm_loop_timer_set(loop, &queue->disk, NEVER);
    /* What has come to its end while there was no server. */
    return failed ? failed
                  : fm_loop_timer_set(loop, &queue->forget_timer,
                                      fm_clock_monotonic_ns() + FORGET_EVERY_NS);
}

void fm_disk_stop(struct fm_queue *queue)
{
    fm_loop_timer_cancel(queue->config.loop, &queue->disk);
    fm_loop_timer_cancel(queue->config.loop, &queue->forget_timer);
}
