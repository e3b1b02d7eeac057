/* cmd.h - the verbs of the command line, one file each. */
#pragma once

#include "base/error.h"

struct fm_verb {
    const char *name;
    const char *summary;               /* NULL: not shown in --help */
    const char *usage;                 /* the whole text of `faasm NAME --help` */
    int (*run)(int argc, char **argv); /* argv[0] is the verb; returns the exit code */
};

extern const struct fm_verb fm_verb_serve;
extern const struct fm_verb fm_verb_run;
extern const struct fm_verb fm_verb_new;
extern const struct fm_verb fm_verb_compile; /* hidden: the server's own */

/* Says `faasm: VERB: TEXT` on standard error and returns the exit code of `error->code`. */
int fm_cmd_fail(const char *verb, const struct fm_error *error);

/* The same for a mistake in the arguments: adds where help is found.  Returns 64 (EX_USAGE). */
int fm_cmd_usage(const char *verb, const char *format, ...) FM_PRINTF(2, 3);
