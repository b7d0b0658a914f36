#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An NBD server on standard input that does one thing wrong, or none.
usage: nbd_server.py MODE [SIZE [MINIMUM-BLOCK]]; the disk holds (offset / 4096) % 251 in each byte,
and every second MiB from the second on is zeros."""
import os, socket, struct, sys

mode = sys.argv[1]
size = int(sys.argv[2]) if len(sys.argv) > 2 else 8 << 20
minimum = int(sys.argv[3]) if len(sys.argv) > 3 else 1
sock = socket.socket(fileno=0)


def exactly(n):
    data = b''
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data


def content(offset, length):
    out = bytearray()
    while length > 0:
        block = offset // 4096
        n = min(length, (block + 1) * 4096 - offset)
        out += bytes([0 if offset >> 20 & 1 else block % 251]) * n
        offset += n
        length -= n
    return bytes(out)


def option_reply(option, kind, data=b''):
    sock.sendall(struct.pack('>QIII', 0x3e889045565a9, option, kind, len(data)) + data)


def negotiate():
    if mode == 'garbage':
        sock.sendall(os.urandom(4096))
    if mode == 'silent-handshake':
        sock.recv(1)
        sys.exit(0)
    sock.sendall(struct.pack('>QQH', 0x4e42444d41474943, 0x49484156454F5054, 3))
    exactly(4)
    while True:
        _, option, length = struct.unpack('>QII', exactly(16))
        exactly(length)
        if option == 8 and mode != 'simple':
            option_reply(option, 1)
        elif option == 10 and mode != 'simple':
            option_reply(option, 4, struct.pack('>I', 7) + b'base:allocation')
            option_reply(option, 1)
        elif option == 7:
            if mode == 'no-export':
                option_reply(option, (1 << 31) + 6, b'no such export')
                continue
            told = 1 << 63 if mode == 'negative-size' else size
            option_reply(option, 3, struct.pack('>HQH', 0, told, 3))
            option_reply(option, 3, struct.pack('>HIII', 3, minimum, 4096, 32 << 20))
            option_reply(option, 1)
            return
        elif option == 2:
            sys.exit(0)
        else:
            option_reply(option, (1 << 31) + 1)


def chunk(handle, kind, data, done=True):
    sock.sendall(struct.pack('>IHHQI', 0x668e33ef, int(done), kind, handle, len(data)) + data)


def serve_read(handle, offset, length):
    if mode == 'error':
        chunk(handle, 32769, struct.pack('>IH', 5, 9) + b'bad luck!')
    elif mode == 'wrong-handle':
        chunk(handle + 12345, 1, struct.pack('>Q', offset) + content(offset, length))
    elif mode == 'too-long':
        chunk(handle, 1, struct.pack('>Q', offset) + bytes(length + 1))
    elif mode == 'elsewhere':
        chunk(handle, 1, struct.pack('>Q', offset + length) + bytes(length))
    elif mode == 'half':
        sock.sendall(struct.pack('>IHHQI', 0x668e33ef, 1, 1, handle, 8 + length))
        sock.sendall(struct.pack('>Q', offset) + bytes(length // 2))
        sys.exit(0)
    elif mode == 'silent':
        pass
    elif mode == 'simple':
        sock.sendall(struct.pack('>IIQ', 0x67446698, 0, handle) + content(offset, length))
    else:
        chunk(handle, 1, struct.pack('>Q', offset) + content(offset, length))


def serve_status(handle, offset, length):
    entries = []
    end = offset + length
    if mode == 'map-empty':
        entries = [(0, 0)]
    elif mode == 'map-zero-length':
        entries = [(4096, 0), (0, 3), (4096, 0)]
    elif mode == 'map-odd':
        chunk(handle, 5, struct.pack('>II', 7, 4096))
        return
    elif mode == 'map-endless':
        entries = [((1 << 32) - 1, 3)] * 1000
    elif mode == 'map-flags':
        entries = [(length, 0xfffffffc)]
    elif mode == 'map-none':
        chunk(handle, 0, b'')
        return
    elif mode == 'map-fragments':
        entries = [(512, i % 2 * 3) for i in range(100000)]
    else:
        while offset < end:
            n = min(end - offset, (1 << 20) - offset % (1 << 20))
            entries.append((n, 3 if offset >> 20 & 1 else 0))
            offset += n
    chunk(handle, 5, struct.pack('>I', 7) + b''.join(struct.pack('>II', *e) for e in entries))


def main():
    negotiate()
    while True:
        _, _, kind, handle, offset, length = struct.unpack('>IHHQQI', exactly(28))
        if kind == 2:
            break
        if minimum > 1 and (offset % minimum or length % minimum):
            chunk(handle, 32769, struct.pack('>IH', 22, 0))
        elif kind == 0:
            serve_read(handle, offset, length)
        elif kind == 7:
            serve_status(handle, offset, length)


try:
    main()
except (BrokenPipeError, ConnectionResetError):
    pass
