/* wasi_sock.c - sockets, which no guest has: there is no network for them. */
#include "guest/private.h"
#include "guest/wasi.h"

static uint32_t no_socket(struct fm_guest *guest, uint32_t fd)
{
    return fm_descriptor_get(guest, fd) ? FM_WASI_NOTSOCK : FM_WASI_BADF;
}

#define X(name)                                                                                    \
    uint32_t fm_wasi_##name(struct fm_guest *guest, const union fm_value *in)                      \
    {                                                                                              \
        return no_socket(guest, in[0].u32);                                                        \
    }
X(sock_accept)
X(sock_recv)
X(sock_send)
X(sock_shutdown)
#undef X
