/* function_page.c - a web page as a CGI program: nothing but standard C, no faasm.h.
 *
 *     curl 'http://localhost:8080/h/simon/page/some/where?x=1' -d hello
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

/* What a visitor has sent must not become markup. */
static void print_escaped(const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", stdout);
            break;
        case '<':
            fputs("&lt;", stdout);
            break;
        case '>':
            fputs("&gt;", stdout);
            break;
        case '"':
            fputs("&quot;", stdout);
            break;
        default:
            putchar(*text);
        }
    }
}

static void print_row(const char *name, const char *value)
{
    printf("<tr><th>%s</th><td>", name);
    print_escaped(value);
    printf("</td></tr>\n");
}

int main(void)
{
    static const char *const shown[] = {"REQUEST_METHOD", "PATH_INFO", "QUERY_STRING",
                                        "CONTENT_TYPE", "HTTP_USER_AGENT"};
    char piece[4096];
    size_t bytes = 0;
    size_t got;
    while ((got = fread(piece, 1, sizeof(piece), stdin)) > 0)
        bytes += got;

    if (strcmp(variable("PATH_INFO"), "/missing") == 0)
        printf("Status: 404 Not Found\n");
    printf("Content-Type: text/html; charset=utf-8\n\n");
    printf("<!doctype html>\n<title>A page</title>\n<table>\n");
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
        print_row(shown[i], variable(shown[i]));
    printf("</table>\n<p>%zu bytes came with the request.</p>\n", bytes);
    return 0;
}
