/* target.h - the request target, as it came over the wire.
 *
 * It is split at `/` first and each segment is percent-decoded once afterwards, so that `%2f` can
 * never become a separator.  A segment that is no clean name keeps the reason and its place:
 * whether that matters is for the route to say, since some segments are ignored. */
#pragma once

#include "base/error.h"
#include "base/limits.h"

#define FM_TARGET_SEGMENTS_MAX 4 /* kept; more are only counted */

struct fm_segment {
    char text[FM_NAME_LENGTH_MAX + 1]; /* decoded; "" when over-long */
    uint8_t length;
    const char *fault;     /* why it is not a name (static text); NULL: it is one */
    size_t fault_position; /* byte of the target, from 0 */
    size_t end;            /* byte behind it */
    bool deceptive;        /* it holds an encoded slash or NUL, or an escape that is none */
};

struct fm_target {
    size_t count; /* of segments; an empty one at the end does not count */
    struct fm_segment segments[FM_TARGET_SEGMENTS_MAX];
    size_t query_position; /* byte behind the `?`; 0: no query */
    bool asterisk;         /* it is `*`: about the server as a whole */
};

/* `raw` is a path (`/f/simon/echo?x=y`), the same with scheme and host before it, or `*`.
 * FM_ERR_BAD_REQUEST: none of these. */
FM_MUST_CHECK int fm_target_parse(const char *raw, struct fm_target *ret_target,
                                  struct fm_error *error);

/* 0 when the segment is a name of a user or a function; else FM_ERR_BAD_NAME with the reason and
 * its place.  `what` says whose name it is. */
FM_MUST_CHECK int fm_target_name(const struct fm_target *target, size_t index, const char *what,
                                 struct fm_error *error);

struct fm_buffer;

/* What stands behind the second segment (`/files/ada/a%20b/c`: "a b/c"), each segment decoded once,
 * with a NUL at its end; `*ret_slash`: the path ends in a slash, which does not count.
 * FM_ERR_BAD_NAME: an encoded slash or NUL, or a bad escape, with its place; FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_target_rest(const char *raw, struct fm_buffer *path, bool *ret_slash,
                                 struct fm_error *error);

/* --- query ------------------------------------------------------------------------------------ */

struct fm_parameter {
    char *name;      /* decoded, NUL-ended, no NUL inside; in the query's own memory */
    char *value;     /* "" when there is no `=` */
    size_t position; /* of the parameter in the query, from 0 */
};

/* Walks a query (without `?`), decoding it in place: `+` is a space.  `query` is its start and
 * `*cursor` where to go on, 0 at first.  True: one more parameter.  False: the end, or an error
 * (error->code is FM_ERR_BAD_REQUEST): a bad escape, or an encoded NUL. */
FM_MUST_CHECK bool fm_query_next(char *query, size_t *cursor, struct fm_parameter *ret_parameter,
                                 struct fm_error *error);
