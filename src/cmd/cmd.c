/* cmd.c - how every verb says that something went wrong: one line on standard error. */
#include "cmd/cmd.h"

#include <stdarg.h>
#include <stdio.h>

int fm_cmd_fail(const char *verb, const struct fm_error *error)
{
    (void)fprintf(stderr, "faasm: %s: %s\n", verb,
                  error->text[0] ? error->text : fm_err_meaning(error->code));
    return fm_err_exit_code(error->code);
}

int fm_cmd_usage(const char *verb, const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "faasm: %s: %s (see `faasm %s --help`)\n", verb, text, verb);
    return fm_err_exit_code(FM_ERR_BAD_REQUEST);
}
