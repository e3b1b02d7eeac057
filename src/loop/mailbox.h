/* mailbox.h - messages from any thread to the thread of one loop.
 *
 * A message is embedded in whatever it announces; posting neither allocates nor fails nor blocks.
 * Messages of one sender arrive in their order.  Whoever posts a message gives its object away
 * until on_message is called on the loop's thread; there the object may be freed or posted again.
 *
 * A stack of pointers (Treiber 1986), taken whole and turned round by the receiver: no ABA problem,
 * since nobody pops single nodes.  An eventfd wakes the loop, written only when the stack was
 * empty. */
#pragma once

#include "base/base.h"

struct fm_message {
    struct fm_message *next;
    void (*on_message)(struct fm_message *message);
};

struct fm_mailbox;

/* Any thread. */
void fm_mailbox_post(struct fm_mailbox *mailbox, struct fm_message *message);
