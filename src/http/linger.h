/* linger.h - closes a socket so that the other side still gets our last words.
 *
 * A socket that is closed while bytes from the client are unread makes the kernel answer them with
 * a reset, upon which the client may lose the answer that it was about to read (RFC 9112, 9.6).  So
 * what was answered before its body came is half-closed here, and the rest is read and dropped
 * until the client has closed too, or has had its time. */
#pragma once

#include "base/list.h"
#include "http/deadlines.h"

#define FM_LINGER_SOCKETS_MAX 256          /* a worker; more are closed at once */
#define FM_LINGER_BYTES_MAX (256 * FM_MIB) /* read and dropped; it costs next to nothing */
#define FM_LINGER_TIME_NS (5 * FM_NS_PER_S)

struct fm_linger {
    struct fm_loop *loop;
    struct fm_deadlines deadlines;
    struct fm_list sockets;
    uint32_t sockets_count;
};

FM_MUST_CHECK int fm_linger_init(struct fm_linger *linger, struct fm_loop *loop); /* FM_ERR_NOMEM */
void fm_linger_done(struct fm_linger *linger); /* closes what is left */

/* Takes the descriptor, non-blocking; it is closed sooner or later. */
void fm_linger_take(struct fm_linger *linger, int fd);
