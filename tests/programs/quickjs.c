/* quickjs.c - runs the JavaScript of its input. */
#include <stdio.h>

#include "quickjs.h"

static JSValue print(JSContext *context, JSValueConst this, int count, JSValueConst *values)
{
    (void)this;
    const char *text = count ? JS_ToCString(context, values[0]) : NULL;
    puts(text ? text : "");
    JS_FreeCString(context, text);
    return JS_UNDEFINED;
}

int main(void)
{
    static char script[1 << 16];
    size_t length = fread(script, 1, sizeof(script) - 1, stdin);
    JSRuntime *runtime = JS_NewRuntime();
    JSContext *context = JS_NewContext(runtime), *job = NULL;
    JSValue global = JS_GetGlobalObject(context);
    JS_SetPropertyStr(context, global, "print", JS_NewCFunction(context, print, "print", 1));
    JS_FreeValue(context, global);

    JSValue value = JS_Eval(context, script, length, "input", JS_EVAL_TYPE_GLOBAL);
    int failed = JS_IsException(value);
    while (JS_ExecutePendingJob(runtime, &job) > 0) {
    }
    if (failed) {
        JS_FreeValue(context, value);
        value = JS_GetException(context);
    }
    const char *text = JS_ToCString(context, value);
    printf("%s: %s\n", failed ? "error" : "result", text);
    JS_FreeCString(context, text);
    JS_FreeValue(context, value);
    JS_FreeContext(context);
    JS_FreeRuntime(runtime);
    return failed;
}
