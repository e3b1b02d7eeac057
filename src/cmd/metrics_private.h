/* metrics_private.h - what the files behind /metrics share.  Private to cmd/. */
#pragma once

#include "base/buffer.h"

struct fm_server;

/* One sample; with `help`, the lines that introduce its family before it. */
FM_MUST_CHECK int fm_metrics_put(struct fm_buffer *text, const char *name, const char *type,
                                 const char *help, const char *labels, double value);

/* Families of single users (metrics_users.c). */
FM_MUST_CHECK int fm_metrics_users(struct fm_server *server, struct fm_buffer *text);
