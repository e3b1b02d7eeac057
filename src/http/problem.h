/* problem.h - an error as application/problem+json (RFC 9457).
 *
 *      {"type":"urn:faasm:problem:not_found","title":"no such thing","status":404,
 *       "code":"not_found","detail":"no function 'simon/echo'"} */
#pragma once

#include "base/error.h"

struct fm_buffer;
struct fm_call;
struct fm_refusal;

#define FM_PROBLEM_TYPE "application/problem+json"

/* A larger output is left out, which `output_omitted` and `output_bytes` say: writing it as JSON
 * would keep the worker from everybody else. */
#define FM_PROBLEM_OUTPUT_BYTES_MAX (FM_MIB)

struct fm_problem {
    int error;                        /* FM_ERR_* */
    int status;                       /* 0: what the table of errors says */
    const char *detail;               /* NULL or "": what the error means */
    const struct fm_call *call;       /* whose outcome it is, NULL: nobody's */
    const char *quota;                /* FM_ERR_QUOTA and not of `call`: which; or NULL */
    uint64_t retry_ns;                /* the same: when it is worth trying again */
    const struct fm_refusal *refusal; /* of a module; NULL: none */
};

int fm_problem_status(const struct fm_problem *problem);

/* When it is worth trying again: whole seconds, at least 1. */
uint64_t fm_problem_retry_s(const struct fm_problem *problem);

/* Appends it to `text`.  FM_ERR_TOO_LARGE, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_problem_write(const struct fm_problem *problem, struct fm_buffer *text);
