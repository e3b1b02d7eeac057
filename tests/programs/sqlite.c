/* sqlite.c - a small shell: runs the SQL of its input on the database that it is told. */
#include <stdio.h>
#include <stdlib.h>

#include "sqlite3.h"

static int print(void *data, int count, char **values, char **names)
{
    (void)data;
    for (int i = 0; i < count; i++)
        printf("%s%s=%s", i ? "|" : "", names[i], values[i] ? values[i] : "NULL");
    puts("");
    return 0;
}

int main(int argc, char **argv)
{
    static char sql[1 << 16];
    size_t length = fread(sql, 1, sizeof(sql) - 1, stdin);
    sql[length] = '\0';
    sqlite3 *database = NULL;
    char *message = NULL;
    if (argc != 2 || sqlite3_open(argv[1], &database) != SQLITE_OK) {
        printf("cannot open: %s\n", database ? sqlite3_errmsg(database) : "which?");
        return 1;
    }
    int failed = sqlite3_exec(database, sql, print, NULL, &message);
    if (failed)
        printf("error %d: %s\n", failed, message ? message : "?");
    sqlite3_free(message);
    return sqlite3_close(database) != SQLITE_OK || failed;
}
