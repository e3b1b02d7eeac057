/* faasm_http.c - module `faasm`: the HTTP request that a call answers, and the answer's head.
 *
 * Both are http/'s (call/web.h); here are only the guest's questions.  In a call that answers none
 * (POST /f/, asynchronous, chained, `faasm run`) each of them says so: -ENOTSUP. */
#include <string.h>

#include "call/web.h"
#include "guest/faasm.h"
#include "guest/private.h"
#include "guest/wasi.h"

static int answer(union fm_value *values, int64_t result)
{
    values[0].u64 = (uint32_t)(int32_t)result;
    return 0;
}

static int answer_done(union fm_value *values, int failed)
{
    if (failed == FM_ERR_CONFLICT)
        return answer(values, -FM_WASI_ALREADY);
    return answer(values, failed ? -(int64_t)fm_err_guest_errno(failed) : 0);
}

int fm_faasm_http_header(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    const struct fm_guest *guest = host;
    struct fm_call *call = guest->call;
    struct fm_span name;
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[0].u32, values[1].u32, &name);
    if (!failed)
        failed = fm_guest_span(sandbox, values[2].u32, values[3].u32, &span);
    if (failed)
        return failed;
    if (!call->web)
        return answer(values, -FM_WASI_NOTSUP);
    const char *text = call->web->header(call, (const char *)name.data, (size_t)name.length);
    if (!text)
        return answer(values, -FM_WASI_NOENT);
    size_t length = strlen(text);
    size_t bytes = (size_t)fm_min_u64(span.length, length);
    if (bytes > 0)
        memcpy(span.data, text, bytes);
    return answer(values, (int64_t)length);
}

int fm_faasm_http_status(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    const struct fm_guest *guest = host;
    struct fm_call *call = guest->call;
    if (!call->web)
        return answer(values, -FM_WASI_NOTSUP);
    return answer_done(values, call->web->set_status(call, values[0].u32));
}

int fm_faasm_http_header_set(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    const struct fm_guest *guest = host;
    struct fm_call *call = guest->call;
    struct fm_span name;
    struct fm_span value;
    int failed = fm_guest_span(sandbox, values[0].u32, values[1].u32, &name);
    if (!failed)
        failed = fm_guest_span(sandbox, values[2].u32, values[3].u32, &value);
    if (failed)
        return failed;
    if (!call->web)
        return answer(values, -FM_WASI_NOTSUP);
    return answer_done(values,
                       call->web->set_header(call, (const char *)name.data, (size_t)name.length,
                                             (const char *)value.data, (size_t)value.length));
}

int fm_faasm_http_flush(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    const struct fm_guest *guest = host;
    struct fm_call *call = guest->call;
    if (!call->web)
        return answer(values, -FM_WASI_NOTSUP);
    call->web->flush(call);
    return answer(values, 0);
}
