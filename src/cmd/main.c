/* main.c - `faasm VERB ...`: finds the verb and runs it.
 *
 * Everything that ends the process goes through the return value of main(). */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"

static const struct fm_verb *const verbs[] = {
    &fm_verb_serve,
    &fm_verb_run,
    &fm_verb_new,
    &fm_verb_compile,
};

static void help(FILE *out)
{
    (void)fprintf(out, "Usage: faasm VERB [OPTION...]\n"
                       "\n"
                       "Runs WebAssembly functions, each call in a fresh, isolated instance.\n"
                       "\n");
    for (size_t i = 0; i < FM_ARRAY_LENGTH(verbs); i++)
        if (verbs[i]->summary)
            (void)fprintf(out, "  %-8s %s\n", verbs[i]->name, verbs[i]->summary);
    (void)fprintf(out, "\n"
                       "  --help     this text; `faasm VERB --help` tells about one verb\n"
                       "  --version  the version\n");
}

static bool wants_help(int argc, char **argv)
{
    return argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
}

/* `faasm help [VERB]` and `faasm --help VERB` are `faasm [VERB] --help`. */
static void turn_help_round(int argc, char **argv)
{
    static char option[] = "--help";
    if (argc < 2 || argc > 3 || (strcmp(argv[1], "help") != 0 && strcmp(argv[1], option) != 0))
        return;
    if (argc == 3)
        argv[1] = argv[2];
    argv[argc - 1] = option;
}

int main(int argc, char **argv)
{
    turn_help_round(argc, argv);
    if (wants_help(argc, argv)) {
        help(stdout);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("faasm %s\n", FAASM_VERSION);
        return 0;
    }
    if (argc < 2) {
        help(stderr);
        return fm_err_exit_code(FM_ERR_BAD_REQUEST);
    }
    for (size_t i = 0; i < FM_ARRAY_LENGTH(verbs); i++) {
        if (strcmp(argv[1], verbs[i]->name) != 0)
            continue;
        if (wants_help(argc - 1, argv + 1)) {
            (void)fputs(verbs[i]->usage, stdout);
            return 0;
        }
        return verbs[i]->run(argc - 1, argv + 1);
    }
    (void)fprintf(stderr, "faasm: no verb '%s' (see `faasm --help`)\n", argv[1]);
    return fm_err_exit_code(FM_ERR_BAD_REQUEST);
}
