/* runner.c - makes a script a function: the interpreter QuickJS, and the object `faasm`.
 *
 * The module is a reactor. _initialize makes the interpreter and runs the script once from top to
 * bottom; `handle` is a call: it runs the script's exec(). What belongs to a call (its input, its
 * chained calls, random numbers) cannot be had before, so the memory between the two holds nothing
 * of any call. The export `wizer-initialize` says so: the server keeps that memory, at upload, and
 * starts every call from there. A script that fails before there is an exec() is refused then.
 *
 * The script is part of the module, in a section of its own (sdk/js/build). An error that nothing
 * catches goes to the log with its stack, and is exit code 1; so is an error in the script's top
 * level, at the first call.
 *
 * Lifetime: all that is made stays until the instance is thrown away, which is the end of the
 * call. */
#define FAASM_NO_MAIN
#include "faasm.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <wasi/api.h>

#include "quickjs.h"

/* Of the 512 KiB of stack in memory. A script that recurses without end finds this limit, as an
 * error, before the engine's own, which ends the call. (Deeply nested JSON may find the other.) */
#define STACK_BYTES (256 * 1024)

extern const char faasm_script[]; /* ends in a NUL that is not counted */
extern const uint32_t faasm_script_length;

static JSRuntime *runtime;
static JSContext *context;
static JSValue exec_function; /* undefined where the script has none, or failed */
static bool in_call;
static bool making_context;
static int unhandled; /* promises that were rejected, and that nobody waits for */

static struct {
    uint8_t bytes[256];
    size_t left;
} random_pool;

/* --- log -------------------------------------------------------------------------------------- */

/* A line of the log has no line breaks. */
static void log_lines(int level, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        (void)faasm_log(level, text, (uint32_t)length);
        text += length + (text[length] == '\n');
    }
}

static void log_value(int level, JSValueConst value)
{
    const char *text = JS_ToCString(context, value);
    if (text)
        log_lines(level, text);
    else
        JS_FreeValue(context, JS_GetException(context)); /* its toString() throws */
    JS_FreeCString(context, text);
}

/* An error with its stack, anything else that was thrown as it is. */
static void log_thrown(JSValueConst value)
{
    log_value(FAASM_LOG_ERROR, value);
    if (!JS_IsError(value))
        return;
    JSValue stack = JS_GetPropertyStr(context, value, "stack");
    if (JS_IsString(stack))
        log_value(FAASM_LOG_ERROR, stack);
    JS_FreeValue(context, stack);
}

static void log_exception(void)
{
    JSValue thrown = JS_GetException(context);
    log_thrown(thrown);
    JS_FreeValue(context, thrown);
}

/* What console.log() shows of one argument: objects as JSON, the rest as String() does. */
static JSValue shown(JSContext *ctx, JSValueConst value)
{
    if (JS_IsObject(value) && !JS_IsError(value) && !JS_IsFunction(ctx, value)) {
        JSValue json = JS_JSONStringify(ctx, value, JS_UNDEFINED, JS_UNDEFINED);
        if (JS_IsString(json))
            return json;
        if (JS_IsException(json))
            JS_FreeValue(ctx, JS_GetException(ctx)); /* it refers to itself, say */
        JS_FreeValue(ctx, json);
    }
    return JS_ToString(ctx, value);
}

/* console.log() and its relatives; `level` is that of the log. */
static JSValue js_console(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv,
                          int level)
{
    (void)self;
    char *line = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&line, &size);
    if (!out)
        return JS_ThrowOutOfMemory(ctx);
    for (int i = 0; i < argc; i++) {
        JSValue value = shown(ctx, argv[i]);
        const char *text = JS_IsException(value) ? NULL : JS_ToCString(ctx, value);
        JS_FreeValue(ctx, value);
        if (!text) {
            fclose(out);
            free(line);
            return JS_EXCEPTION;
        }
        fprintf(out, "%s%s", i > 0 ? " " : "", text);
        JS_FreeCString(ctx, text);
    }
    fclose(out);
    if (line)
        log_lines(level, line);
    free(line);
    return JS_UNDEFINED;
}

/* --- what the host says ----------------------------------------------------------------------- */

static const struct {
    int number;
    const char *code;
    const char *meaning;
} host_errors[] = {
    {E2BIG, "E2BIG", "the input is over the limit of the called function"},
    {EAGAIN, "EAGAIN", "over a limit, now or at all"},
    {ECANCELED, "ECANCELED", "the call was cancelled"},
    {ECHILD, "ECHILD", "the exit code of the call is not 0"},
    {EDQUOT, "EDQUOT", "the call broke a limit"},
    {EFAULT, "EFAULT", "the call trapped"},
    {EINVAL, "EINVAL", "not a valid name or argument"},
    {EIO, "EIO", "an error of the server"},
    {ENOENT, "ENOENT", "no such function or call"},
    {ENOMEM, "ENOMEM", "out of memory"},
    {ENOSPC, "ENOSPC", "the output is over its limit"},
    {ETIMEDOUT, "ETIMEDOUT", "the time is over, and the call goes on"},
};

/* Throws an Error with the property `code`. */
static JSValue throw_host(JSContext *ctx, const char *what, int64_t result)
{
    const char *code = "EIO";
    const char *meaning = "an unknown error";
    for (size_t i = 0; i < sizeof(host_errors) / sizeof(host_errors[0]); i++)
        if (host_errors[i].number == -result) {
            code = host_errors[i].code;
            meaning = host_errors[i].meaning;
        }
    (void)JS_ThrowPlainError(ctx, "faasm.%s: %s (%s)", what, meaning, code);
    JSValue error = JS_GetException(ctx);
    if (JS_IsObject(error))
        (void)JS_DefinePropertyValueStr(ctx, error, "code", JS_NewString(ctx, code),
                                        JS_PROP_C_W_E); /* without it if there is no memory */
    return JS_Throw(ctx, error);
}

static JSValue number_or_throw(JSContext *ctx, const char *what, int64_t result)
{
    return result < 0 ? throw_host(ctx, what, result) : JS_NewInt64(ctx, result);
}

/* Every function of `faasm` but log() belongs to a call. */
static bool outside_of_call(JSContext *ctx, const char *what)
{
    if (in_call)
        return false;
    (void)JS_ThrowTypeError(ctx, "faasm.%s() can only be used while exec() runs", what);
    return true;
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* What a script gives for bytes: a string, as UTF-8, or what lies in a buffer or a view of one. */
struct bytes {
    const uint8_t *data;
    size_t length;
    const char *string; /* to be freed */
    JSValue buffer;     /* the same */
};

static int bytes_take(JSContext *ctx, JSValueConst value, struct bytes *ret_bytes)
{
    struct bytes bytes = {.buffer = JS_UNDEFINED};
    if (JS_IsString(value)) {
        bytes.string = JS_ToCStringLen(ctx, &bytes.length, value);
        if (!bytes.string)
            return -1;
        bytes.data = (const uint8_t *)bytes.string;
    } else if (JS_IsArrayBuffer(value)) {
        bytes.data = JS_GetArrayBuffer(ctx, &bytes.length, value);
        if (!bytes.data && bytes.length > 0)
            return -1;
    } else if (JS_GetTypedArrayType(value) >= 0) {
        size_t offset = 0;
        size_t whole = 0;
        bytes.buffer = JS_GetTypedArrayBuffer(ctx, value, &offset, &bytes.length, NULL);
        if (JS_IsException(bytes.buffer))
            return -1;
        uint8_t *start = JS_GetArrayBuffer(ctx, &whole, bytes.buffer);
        bytes.data = start ? start + offset : NULL;
    } else if (!JS_IsUndefined(value)) {
        (void)JS_ThrowTypeError(ctx, "neither a string nor bytes");
        return -1;
    }
    *ret_bytes = bytes;
    return 0;
}

static void bytes_done(JSContext *ctx, struct bytes *bytes)
{
    JS_FreeCString(ctx, bytes->string);
    JS_FreeValue(ctx, bytes->buffer);
}

static void *bytes_realloc(JSRuntime *rt, void *opaque, void *data, size_t size)
{
    (void)rt;
    (void)opaque;
    if (size > 0)
        return realloc(data, size);
    free(data);
    return NULL;
}

/* A string or a Uint8Array, which then owns `data`. */
static JSValue bytes_give(JSContext *ctx, uint8_t *data, size_t length, bool as_text)
{
    if (!as_text)
        return JS_NewUint8Array(ctx, data, length, bytes_realloc, NULL, false);
    JSValue text = JS_NewStringLen(ctx, (const char *)data, length);
    free(data);
    return text;
}

/* --- faasm ------------------------------------------------------------------------------------ */

enum { AS_BYTES, AS_TEXT };

/* The whole input. A request's body comes in pieces, and its size (< 0 then) may not be known
 * before its end. Returns 0, with no data when there is no memory for it; or an error. */
static int32_t read_input(uint8_t **ret_data, size_t *ret_length)
{
    int32_t size = faasm_input_size();
    size_t room = size >= 0 ? (size_t)size : 65536;
    size_t length = 0;
    uint8_t *data = malloc(room > 0 ? room : 1);
    while (data && (size < 0 || length < room)) {
        if (length == room) {
            uint8_t *larger = realloc(data, 2 * room);
            if (!larger)
                free(data);
            data = larger;
            room *= 2;
            continue;
        }
        int32_t got = faasm_input_read((uint32_t)length, data + length, (uint32_t)(room - length));
        if (got < 0)
            free(data);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    *ret_data = data;
    *ret_length = length;
    return 0;
}

static JSValue js_input(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv,
                        int as_text)
{
    (void)self;
    (void)argc;
    (void)argv;
    if (outside_of_call(ctx, "input"))
        return JS_EXCEPTION;
    uint8_t *data = NULL;
    size_t length = 0;
    int32_t failed = read_input(&data, &length);
    if (failed)
        return throw_host(ctx, "input", failed);
    if (!data)
        return JS_ThrowOutOfMemory(ctx);
    return bytes_give(ctx, data, length, as_text == AS_TEXT);
}

static JSValue js_output(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    (void)self;
    (void)argc;
    struct bytes bytes;
    if (outside_of_call(ctx, "output") || bytes_take(ctx, argv[0], &bytes) != 0)
        return JS_EXCEPTION;
    int32_t result = faasm_output_write(bytes.data, (uint32_t)bytes.length);
    bytes_done(ctx, &bytes);
    return result < 0 ? throw_host(ctx, "output", result) : JS_UNDEFINED;
}

enum { CHAIN, CALL_START };

/* chain(name, input) and callStart(name, input). */
static JSValue js_call(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int how)
{
    static const char *const names[] = {"chain", "callStart"};
    (void)self;
    (void)argc;
    struct bytes bytes;
    if (outside_of_call(ctx, names[how]))
        return JS_EXCEPTION;
    size_t length;
    const char *name = JS_ToCStringLen(ctx, &length, argv[0]);
    if (!name || bytes_take(ctx, argv[1], &bytes) != 0) {
        JS_FreeCString(ctx, name);
        return JS_EXCEPTION;
    }
    int64_t result =
        how == CHAIN ? faasm_chain(name, (uint32_t)length, bytes.data, (uint32_t)bytes.length)
                     : faasm_call_start(name, (uint32_t)length, bytes.data, (uint32_t)bytes.length);
    bytes_done(ctx, &bytes);
    JS_FreeCString(ctx, name);
    return number_or_throw(ctx, names[how], result);
}

/* Milliseconds; for ever where none are given. */
static int take_timeout(JSContext *ctx, JSValueConst value, int64_t *ret_timeout_ms)
{
    if (JS_IsUndefined(value)) {
        *ret_timeout_ms = FAASM_FOR_EVER;
        return 0;
    }
    return JS_ToInt64(ctx, ret_timeout_ms, value);
}

static JSValue js_call_wait(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    (void)self;
    (void)argc;
    int64_t call;
    int64_t timeout_ms;
    if (outside_of_call(ctx, "callWait") || JS_ToInt64(ctx, &call, argv[0]) != 0 ||
        take_timeout(ctx, argv[1], &timeout_ms) != 0)
        return JS_EXCEPTION;
    return number_or_throw(ctx, "callWait", faasm_call_wait(call, timeout_ms));
}

#define CALLS_MAX 1024 /* the host's limit */

/* callWaitAny([handle, ...], timeout): the index of the first that ended. */
static JSValue js_call_wait_any(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    (void)self;
    (void)argc;
    static int64_t calls[CALLS_MAX];
    int64_t count;
    int64_t timeout_ms;
    if (outside_of_call(ctx, "callWaitAny") || JS_GetLength(ctx, argv[0], &count) != 0 ||
        take_timeout(ctx, argv[1], &timeout_ms) != 0)
        return JS_EXCEPTION;
    if (count > CALLS_MAX)
        return throw_host(ctx, "callWaitAny", -EINVAL);
    for (int64_t i = 0; i < count; i++) {
        JSValue call = JS_GetPropertyInt64(ctx, argv[0], i);
        int failed = JS_IsException(call) ? -1 : JS_ToInt64(ctx, &calls[i], call);
        JS_FreeValue(ctx, call);
        if (failed)
            return JS_EXCEPTION;
    }
    return number_or_throw(ctx, "callWaitAny",
                           faasm_call_wait_any(calls, (uint32_t)count, timeout_ms));
}

/* callOutput(handle): waits for ever; the output of a call that has succeeded. */
static JSValue js_call_output(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv,
                              int as_text)
{
    (void)self;
    (void)argc;
    int64_t call;
    if (outside_of_call(ctx, "callOutput") || JS_ToInt64(ctx, &call, argv[0]) != 0)
        return JS_EXCEPTION;
    int32_t code = faasm_call_wait(call, FAASM_FOR_EVER);
    int32_t size = code == 0 ? faasm_call_output_size(call) : code < 0 ? code : -ECHILD;
    if (size < 0)
        return throw_host(ctx, "callOutput", size);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    if (!data)
        return JS_ThrowOutOfMemory(ctx);
    int32_t got = faasm_call_output_read(call, 0, data, (uint32_t)size);
    if (got < 0) {
        free(data);
        return throw_host(ctx, "callOutput", got);
    }
    return bytes_give(ctx, data, (size_t)got, as_text == AS_TEXT);
}

/* callInfo("id"): text about this call. */
static JSValue js_call_info(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    static const char *const fields[] = {"id",      "user",     "function", "version",
                                         "attempt", "deadline", "parent"};
    (void)self;
    (void)argc;
    if (outside_of_call(ctx, "callInfo"))
        return JS_EXCEPTION;
    const char *name = JS_ToCString(ctx, argv[0]);
    if (!name)
        return JS_EXCEPTION;
    int32_t field = 0;
    while (field <= FAASM_INFO_PARENT && strcmp(name, fields[field]) != 0)
        field++;
    JS_FreeCString(ctx, name);
    char text[128];
    int32_t length = faasm_call_info(field, text, sizeof(text));
    if (length < 0 || length > (int32_t)sizeof(text))
        return throw_host(ctx, "callInfo", length < 0 ? length : -EIO);
    return JS_NewStringLen(ctx, text, (size_t)length);
}

/* Math.random(), from the kernel: an interpreter that is kept would else have the same numbers in
 * every call. */
static JSValue js_random(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
    (void)self;
    (void)argc;
    (void)argv;
    uint64_t bits;
    if (outside_of_call(ctx, "random"))
        return JS_EXCEPTION;
    if (random_pool.left < sizeof(bits)) {
        if (getentropy(random_pool.bytes, sizeof(random_pool.bytes)) != 0)
            return throw_host(ctx, "random", -EIO);
        random_pool.left = sizeof(random_pool.bytes);
    }
    random_pool.left -= sizeof(bits);
    memcpy(&bits, random_pool.bytes + random_pool.left, sizeof(bits));
    return JS_NewFloat64(ctx, (double)(bits >> 11) / (double)(1ULL << 53));
}

static const JSCFunctionListEntry faasm_functions[] = {
    JS_CFUNC_MAGIC_DEF("input", 0, js_input, AS_TEXT),
    JS_CFUNC_MAGIC_DEF("inputBytes", 0, js_input, AS_BYTES),
    JS_CFUNC_DEF("output", 1, js_output),
    JS_CFUNC_MAGIC_DEF("chain", 2, js_call, CHAIN),
    JS_CFUNC_MAGIC_DEF("callStart", 2, js_call, CALL_START),
    JS_CFUNC_DEF("callWait", 2, js_call_wait),
    JS_CFUNC_DEF("callWaitAny", 2, js_call_wait_any),
    JS_CFUNC_MAGIC_DEF("callOutput", 1, js_call_output, AS_TEXT),
    JS_CFUNC_MAGIC_DEF("callOutputBytes", 1, js_call_output, AS_BYTES),
    JS_CFUNC_DEF("callInfo", 1, js_call_info),
    JS_CFUNC_MAGIC_DEF("log", 1, js_console, FAASM_LOG_INFO),
};

static const JSCFunctionListEntry console_functions[] = {
    JS_CFUNC_MAGIC_DEF("debug", 1, js_console, FAASM_LOG_DEBUG),
    JS_CFUNC_MAGIC_DEF("log", 1, js_console, FAASM_LOG_INFO),
    JS_CFUNC_MAGIC_DEF("info", 1, js_console, FAASM_LOG_INFO),
    JS_CFUNC_MAGIC_DEF("warn", 1, js_console, FAASM_LOG_WARNING),
    JS_CFUNC_MAGIC_DEF("error", 1, js_console, FAASM_LOG_ERROR),
};

#define LENGTH(array) ((int)(sizeof(array) / sizeof((array)[0])))

static const JSCFunctionListEntry globals[] = {
    JS_OBJECT_DEF("faasm", faasm_functions, LENGTH(faasm_functions), JS_PROP_C_W_E),
    JS_OBJECT_DEF("console", console_functions, LENGTH(console_functions), JS_PROP_C_W_E),
};

/* --- the script's two halves ------------------------------------------------------------------ */

static void on_rejection(JSContext *ctx, JSValueConst promise, JSValueConst reason, bool handled,
                         void *data)
{
    (void)ctx;
    (void)promise;
    (void)reason;
    (void)data;
    unhandled += handled ? -1 : 1;
}

static int define_globals(void)
{
    JSValue global = JS_GetGlobalObject(context);
    JSValue math = JS_GetPropertyStr(context, global, "Math");
    int failed = JS_SetPropertyFunctionList(context, global, globals, LENGTH(globals)) != 0 ||
                 JS_SetPropertyStr(context, math, "random",
                                   JS_NewCFunction(context, js_random, "random", 0)) < 0;
    JS_FreeValue(context, math);
    JS_FreeValue(context, global);
    return failed;
}

/* Runs all that promises have made ready. */
static int run_jobs(void)
{
    JSContext *ctx;
    int result;
    do
        result = JS_ExecutePendingJob(runtime, &ctx);
    while (result > 0);
    return result;
}

static int run_script(void)
{
    JSValue result =
        JS_Eval(context, faasm_script, faasm_script_length, "function.js", JS_EVAL_TYPE_GLOBAL);
    if (JS_IsException(result))
        return -1;
    JS_FreeValue(context, result);
    if (run_jobs() != 0)
        return -1;

    /* By evaluation, because a const is no property of the global object. */
    static const char find[] = "typeof exec === 'function' ? exec : undefined";
    exec_function = JS_Eval(context, find, sizeof(find) - 1, "<exec>", JS_EVAL_TYPE_GLOBAL);
    if (JS_IsFunction(context, exec_function))
        return 0;
    (void)JS_ThrowTypeError(context, "the script has no function exec()");
    return -1;
}

/* The interpreter asks for the time when it is made: to seed a Math.random() that is never used
 * (js_random), and as the origin of performance.now(). Before a call there is none, so it is told 0
 * then. A script that asks at that time is refused by the server. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    __wasi_timestamp_t ns = 0;
    __wasi_clockid_t id =
        clock == CLOCK_REALTIME ? __WASI_CLOCKID_REALTIME : __WASI_CLOCKID_MONOTONIC;
    if (!making_context && __wasi_clock_time_get(id, 1, &ns) != 0)
        return -1;
    now->tv_sec = (time_t)(ns / 1000000000);
    now->tv_nsec = (long)(ns % 1000000000);
    return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    (void)zone;
    struct timespec time;
    if (clock_gettime(CLOCK_REALTIME, &time) != 0)
        return -1;
    now->tv_sec = time.tv_sec;
    now->tv_usec = (suseconds_t)(time.tv_nsec / 1000);
    return 0;
}

/* Before the start of all calls. */
__attribute__((constructor)) static void initialize(void)
{
    runtime = JS_NewRuntime();
    making_context = true;
    context = runtime ? JS_NewContext(runtime) : NULL;
    making_context = false;
    exec_function = JS_UNDEFINED;
    if (!context) {
        faasmLog(FAASM_LOG_ERROR, "no memory for the interpreter");
        return;
    }
    JS_SetMaxStackSize(runtime, STACK_BYTES);
    JS_SetHostPromiseRejectionTracker(runtime, on_rejection, NULL);
    if (define_globals() != 0 || run_script() != 0) {
        log_exception();
        exec_function = JS_UNDEFINED;
    }
}

/* All is done. A script without exec() ends here, and the log has it why. */
__attribute__((export_name("wizer-initialize"))) void keep_initialized(void);

void keep_initialized(void)
{
    if (!context || !JS_IsFunction(context, exec_function))
        abort();
}

/* What exec() gave, or what its promise came to. Takes `result`. */
static JSValue settle(JSValue result)
{
    if (run_jobs() != 0) {
        JS_FreeValue(context, result);
        return JS_EXCEPTION;
    }
    if (!JS_IsPromise(result))
        return result;
    JSPromiseStateEnum state = JS_PromiseState(context, result);
    JSValue value = JS_PromiseResult(context, result);
    JS_FreeValue(context, result);
    if (state == JS_PROMISE_FULFILLED)
        return value;
    if (state == JS_PROMISE_REJECTED)
        return JS_Throw(context, value);
    return JS_ThrowTypeError(context, "exec() waits for what never comes");
}

/* The exit code: a number is one, strings and bytes are output, nothing is 0. */
static int finish(JSValueConst result)
{
    int32_t code = 0;
    if (JS_IsNumber(result))
        return JS_ToInt32(context, &code, result) == 0 ? code : 1;
    if (JS_IsUndefined(result) || JS_IsNull(result))
        return 0;
    struct bytes bytes;
    if (bytes_take(context, result, &bytes) != 0) {
        JS_FreeValue(context, JS_GetException(context));
        faasmLog(FAASM_LOG_ERROR, "exec() returned neither a string, bytes, an exit code nor "
                                  "nothing; JSON.stringify() makes a string of anything");
        return 1;
    }
    int32_t written = faasm_output_write(bytes.data, (uint32_t)bytes.length);
    bytes_done(context, &bytes);
    return written == 0 ? 0 : FAASM_EXIT_REFUSED;
}

__attribute__((export_name("handle"))) int handle(void);

int handle(void)
{
    if (!JS_IsFunction(context, exec_function))
        return 1; /* and the log has it why */
    in_call = true;
    JSValue result = settle(JS_Call(context, exec_function, JS_UNDEFINED, 0, NULL));
    if (JS_IsException(result)) {
        log_exception();
        return 1;
    }
    if (unhandled > 0) {
        faasmLog(FAASM_LOG_ERROR, "a promise was rejected, and nothing waits for it (await?)");
        return 1;
    }
    return finish(result);
}
