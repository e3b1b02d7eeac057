/* duktape.c - runs the JavaScript of its input. */
#include <stdio.h>

#include "duktape.h"

static duk_ret_t print(duk_context *context)
{
    puts(duk_safe_to_string(context, 0));
    return 0;
}

int main(void)
{
    static char script[1 << 16];
    size_t length = fread(script, 1, sizeof(script), stdin);
    duk_context *context = duk_create_heap_default();
    duk_push_c_function(context, print, 1);
    duk_put_global_string(context, "print");
    int failed = duk_peval_lstring(context, script, length);
    printf("%s: %s\n", failed ? "error" : "result", duk_safe_to_string(context, -1));
    duk_destroy_heap(context);
    return failed != 0;
}
