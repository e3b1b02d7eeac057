/* handler.c - an echo for `wasmtime serve`: wasi:http 0.2, answers with the body of the request.
 *
 * `build` makes echo.wasm of it.  The answer has a Content-Length, as ours has, and is written in
 * one piece where the stream takes it, which is its fastest way.
 *
 * Lifetime: one request; the host makes a fresh instance for each.  Threading: none. */
#include <stdint.h>
#include <string.h>

#include "peer.h" /* made by wit-bindgen */

#define BODY_BYTES_MAX 65536
#define PIECE_BYTES_MAX 4096 /* of a write that waits until it is done */

static uint8_t body[BODY_BYTES_MAX];

static uint32_t read_stream(wasi_io_streams_borrow_input_stream_t stream)
{
    uint32_t bytes = 0;
    peer_list_u8_t piece;
    wasi_io_streams_stream_error_t end;
    while (
        wasi_io_streams_method_input_stream_blocking_read(stream, BODY_BYTES_MAX, &piece, &end)) {
        if (piece.len > BODY_BYTES_MAX - bytes)
            __builtin_trap(); /* never a truncated echo */
        memcpy(body + bytes, piece.ptr, piece.len);
        bytes += (uint32_t)piece.len;
        peer_list_u8_free(&piece);
    }
    wasi_io_streams_stream_error_free(&end);
    return bytes;
}

static uint32_t read_body(wasi_http_types_borrow_incoming_request_t request)
{
    wasi_http_types_own_incoming_body_t incoming;
    wasi_io_streams_own_input_stream_t stream;
    if (!wasi_http_types_method_incoming_request_consume(request, &incoming) ||
        !wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(incoming),
                                                     &stream))
        __builtin_trap();
    uint32_t bytes = read_stream(wasi_io_streams_borrow_input_stream(stream));
    wasi_io_streams_input_stream_drop_own(stream);
    wasi_http_types_incoming_body_drop_own(incoming);
    return bytes;
}

static void write_body(wasi_io_streams_borrow_output_stream_t stream, uint32_t bytes)
{
    uint64_t room = 0;
    wasi_io_streams_stream_error_t error;
    if (!wasi_io_streams_method_output_stream_check_write(stream, &room, &error))
        __builtin_trap();
    if (bytes <= room) {
        peer_list_u8_t all = {body, bytes};
        if (bytes > 0 && !wasi_io_streams_method_output_stream_write(stream, &all, &error))
            __builtin_trap();
        return;
    }
    for (uint32_t at = 0; at < bytes;) {
        uint32_t length = bytes - at < PIECE_BYTES_MAX ? bytes - at : PIECE_BYTES_MAX;
        peer_list_u8_t piece = {body + at, length};
        if (!wasi_io_streams_method_output_stream_blocking_write_and_flush(stream, &piece, &error))
            __builtin_trap();
        at += length;
    }
}

static wasi_http_types_own_fields_t headers_of(uint32_t bytes)
{
    static const char name[] = "content-length";
    char digits[10];
    size_t first = sizeof(digits);
    do {
        digits[--first] = (char)('0' + bytes % 10);
        bytes /= 10;
    } while (bytes > 0);
    peer_string_t key = {(uint8_t *)(uintptr_t)name, sizeof(name) - 1};
    wasi_http_types_field_value_t value = {(uint8_t *)digits + first, sizeof(digits) - first};
    wasi_http_types_header_error_t error;
    wasi_http_types_own_fields_t headers = wasi_http_types_constructor_fields();
    if (!wasi_http_types_method_fields_append(wasi_http_types_borrow_fields(headers), &key, &value,
                                              &error))
        __builtin_trap();
    return headers;
}

void exports_wasi_http_incoming_handler_handle(
    exports_wasi_http_incoming_handler_own_incoming_request_t request,
    exports_wasi_http_incoming_handler_own_response_outparam_t out)
{
    wasi_http_types_own_outgoing_body_t outgoing;
    wasi_http_types_own_output_stream_t stream;
    wasi_http_types_error_code_t error;
    uint32_t bytes = read_body(wasi_http_types_borrow_incoming_request(request));

    wasi_http_types_own_outgoing_response_t response =
        wasi_http_types_constructor_outgoing_response(headers_of(bytes));
    if (!wasi_http_types_method_outgoing_response_body(
            wasi_http_types_borrow_outgoing_response(response), &outgoing))
        __builtin_trap();
    wasi_http_types_result_own_outgoing_response_error_code_t good = {.is_err = false};
    good.val.ok = response;
    wasi_http_types_static_response_outparam_set(out, &good);

    if (!wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(outgoing),
                                                    &stream))
        __builtin_trap();
    write_body(wasi_io_streams_borrow_output_stream(stream), bytes);
    wasi_io_streams_output_stream_drop_own(stream); /* before the body that it belongs to */
    if (!wasi_http_types_static_outgoing_body_finish(outgoing, NULL, &error))
        __builtin_trap();
    wasi_http_types_incoming_request_drop_own(request);
}
