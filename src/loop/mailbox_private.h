/* mailbox_private.h - the receiver's side of a mailbox.  Private to loop/ and its tests. */
#pragma once

#include <stdatomic.h>

#include "loop/mailbox.h"

struct fm_mailbox {
    _Atomic(struct fm_message *) newest; /* a stack through `next`; NULL while empty */
    int event_fd;                        /* readable: the stack was filled; -1: not initialised */
};

FM_MUST_CHECK int fm_mailbox_init(struct fm_mailbox *mailbox); /* FM_ERR_NOMEM, FM_ERR_IO */

/* Messages that nobody received are left alone: they are part of objects that we do not know. */
void fm_mailbox_done(struct fm_mailbox *mailbox);

/* Receiver's thread.  Calls on_message of everything that was posted before the call, oldest first.
 * What those callbacks post to this mailbox waits for the next call.  Does not block. */
void fm_mailbox_receive(struct fm_mailbox *mailbox);
