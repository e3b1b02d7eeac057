/* deadlines.h - total time limits of the same length for many connections, with one timer.
 *
 * All deadlines of one list lie equally far ahead when they are set, so they pass in the order in
 * which they were set: a queue, not a heap. */
#pragma once

#include "base/list.h"
#include "loop/loop.h"

struct fm_deadline {
    struct fm_list link;
    uint64_t at_ns;
};

struct fm_deadlines {
    struct fm_loop *loop;
    struct fm_timer timer;
    struct fm_list queue; /* earliest first */
    uint64_t after_ns;
    void (*on_late)(struct fm_deadline *deadline);
};

/* FM_ERR_NOMEM.  Nothing fails afterwards. */
FM_MUST_CHECK int fm_deadlines_init(struct fm_deadlines *deadlines, struct fm_loop *loop,
                                    uint64_t after_ns,
                                    void (*on_late)(struct fm_deadline *deadline));
void fm_deadlines_done(struct fm_deadlines *deadlines);

void fm_deadline_init(struct fm_deadline *deadline);

/* From now on; a deadline that is set somewhere is moved here. */
void fm_deadline_set(struct fm_deadlines *deadlines, struct fm_deadline *deadline);
void fm_deadline_clear(struct fm_deadline *deadline); /* one that is not set is fine */
