/* A bare receiver: what it costs at least to receive what a load generator receives, and count it.

     cc -O2 receiver.c -o receiver
     ./receiver PORT PATH CLIENTS CONNECTS_PER_S [FIRST_SOURCE]

   One process and one epoll. It does the same as vfctl/loadtest/engine.py: WebSocket handshake, a round of reading
   every 3 ms, one recvmsg() a frame with the kernel's stamp of its arrival, the frame headers followed, and the time
   since the stamp in the trailer of every PositionUpdate put into a histogram. For each line on stdin it prints a JSON
   line: connections, PositionUpdates and bytes so far, the median and the 95th percentile of their latency in
   microseconds; after a line `reset` the latencies begin anew. Ends with its stdin.

   One source address has some 28,000 ports: receivers that share a server with more clients than that each get a
   FIRST_SOURCE of their own, the number of the first address that they bind. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BATCH_NS = 3000000,
    BUFFER_BYTES = 512 * 1024,
    CLIENTS_PER_SOURCE = 10000, /* as vfctl/loadtest/plan.py has it */
    MAX_OPENING = 512,
    TRAILER_BYTES = 20,
    POSITION_UPDATE = 2,
    TIMED = 4,
    BUCKET_US = 10,
    BUCKETS = 100000,
};

enum state { CONNECTING, ASKED, OPEN, CLOSED };

struct client {
    int fd;
    enum state state;
    uint32_t expected;        /* bytes to ask for: the rest of this frame, or as many as the last one had */
    uint32_t size;            /* of the frame that has begun, with its header */
    uint64_t left;            /* of its payload */
    uint8_t opcode, type, flags;
    uint8_t kept;             /* bytes of `start`: a frame header, or its payload's first bytes, not complete yet */
    uint8_t start[17];
    uint8_t tail[TRAILER_BYTES];
};

static struct client *clients;
static int client_count, begun, opening, connections, epoll_fd, first_source = -1;
static uint64_t frames, bytes, histogram[BUCKETS];
static uint8_t buffer[BUFFER_BYTES];
static char request[512];
static struct sockaddr_in server = {.sin_family = AF_INET};

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void drop(struct client *client) {
    if (client->state == OPEN) connections--;
    else if (client->state != CLOSED) opening--;
    close(client->fd);
    client->state = CLOSED;
}

static void open_next(void) {
    struct client *client = &clients[begun];
    int one = 1, no_port_yet = 24 /* IP_BIND_ADDRESS_NO_PORT */;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    client->expected = 16384;
    setsockopt(client->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (client_count > CLIENTS_PER_SOURCE || first_source >= 0) {
        int number = (first_source > 0 ? first_source : 0) + begun / CLIENTS_PER_SOURCE;
        struct sockaddr_in source = {.sin_family = AF_INET};
        source.sin_addr.s_addr = htonl(0x7f000101 + number);
        setsockopt(client->fd, IPPROTO_IP, no_port_yet, &one, sizeof one);
        bind(client->fd, (struct sockaddr *)&source, sizeof source);
    }
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = client};
    opening++;
    begun++;
    if (connect(client->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) drop(client);
    else epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event);
}

static void ask(struct client *client) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (send(client->fd, request, strlen(request), MSG_NOSIGNAL) < 0) {
        drop(client);
        return;
    }
    client->state = ASKED;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, client->fd, &event);
}

/* A frame is complete; its last bytes are in `tail`. */
static void complete(struct client *client, int64_t arrival_ns) {
    client->expected = client->size;
    if (client->opcode == 8) {
        drop(client);
    } else if (client->opcode == 9) { /* an empty pong: good enough for a keepalive */
        static const uint8_t pong[6] = {0x8a, 0x80};
        if (send(client->fd, pong, sizeof pong, MSG_NOSIGNAL) < 0) drop(client);
    } else if (client->type == POSITION_UPDATE) {
        frames++;
        if (!(client->flags & TIMED)) return;
        uint64_t stamp_us;
        memcpy(&stamp_us, client->tail + 8, sizeof stamp_us);
        int64_t bucket = (arrival_ns / 1000 - (int64_t)stamp_us) / BUCKET_US;
        histogram[bucket < 0 ? 0 : bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    }
}

/* Take in data[0:count] at the start of a frame or within one. */
static void feed(struct client *client, const uint8_t *data, size_t count, int64_t arrival_ns) {
    while (count && client->state == OPEN) {
        if (!client->left) {
            const uint8_t *start = data;
            size_t have = count;
            if (client->kept) { /* rare: the header came in two parts */
                size_t take = sizeof client->start - client->kept;
                if (take > count) take = count;
                memcpy(client->start + client->kept, data, take);
                start = client->start;
                have = client->kept + take;
            }
            size_t header = have < 2 ? 2 : (start[1] & 127) == 126 ? 4 : (start[1] & 127) == 127 ? 10 : 2;
            uint64_t length = 0;
            if (have >= header) {
                length = start[1] & 127;
                if (header == 4) length = start[2] << 8 | start[3];
                if (header == 10) length = be64toh(*(const uint64_t *)(start + 2));
            }
            size_t wanted = header + (length < 3 ? length : 3);
            if (have < wanted) {
                if (start == data) memcpy(client->start, data, have);
                client->kept = have;
                return;
            }
            client->opcode = start[0] & 15;
            client->type = length >= 3 ? start[header + 1] : 0;
            client->flags = length >= 3 ? start[header + 2] : 0;
            client->size = header + length;
            size_t used = header - client->kept; /* of `data`; payload bytes among those kept are few and no trailer */
            if (client->kept > header) used = 0, client->left = length - (client->kept - header);
            else client->left = length;
            client->kept = 0;
            data += used;
            count -= used;
        }
        size_t take = client->left < count ? client->left : count;
        client->left -= take;
        if (take >= TRAILER_BYTES) {
            if (client->left < TRAILER_BYTES) memcpy(client->tail, data + take - TRAILER_BYTES, TRAILER_BYTES);
        } else {
            memmove(client->tail, client->tail + take, TRAILER_BYTES - take);
            memcpy(client->tail + TRAILER_BYTES - take, data, take);
        }
        data += take;
        count -= take;
        if (client->left) client->expected = client->left;
        else complete(client, arrival_ns);
    }
}

static void read_from(struct client *client) {
    char control[CMSG_SPACE(sizeof(struct timespec))];
    size_t wanted = client->expected < BUFFER_BYTES ? client->expected : BUFFER_BYTES;
    struct iovec part = {buffer, client->state == OPEN ? wanted : 16384};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t count = recvmsg(client->fd, &message, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
        drop(client);
        return;
    }
    int64_t arrival_ns = 0;
    struct cmsghdr *stamp = CMSG_FIRSTHDR(&message);
    if (stamp) {
        struct timespec arrival;
        memcpy(&arrival, CMSG_DATA(stamp), sizeof arrival);
        arrival_ns = arrival.tv_sec * 1000000000LL + arrival.tv_nsec;
    }
    bytes += count;
    uint8_t *data = buffer;
    if (client->state == ASKED) { /* servers send the response header in one piece */
        uint8_t *end = memmem(buffer, count, "\r\n\r\n", 4);
        if (!end || memcmp(buffer, "HTTP/1.1 101", 12)) {
            fprintf(stderr, "receiver: answered %.*s\n", 30, (char *)buffer);
            drop(client);
            return;
        }
        client->state = OPEN;
        connections++;
        opening--;
        data = end + 4;
    }
    feed(client, data, buffer + count - data, arrival_ns);
}

static int percentile_us(uint64_t percent) {
    uint64_t total = 0, seen = 0;
    int bucket = 0;
    for (int i = 0; i < BUCKETS; i++) total += histogram[i];
    while (bucket < BUCKETS - 1 && (seen += histogram[bucket]) * 100 < total * percent) bucket++;
    return bucket * BUCKET_US;
}

static void report(void) {
    printf("{\"connections\": %d, \"frames\": %lu, \"bytes\": %lu, \"p50_us\": %d, \"p95_us\": %d}\n", connections,
           frames, bytes, percentile_us(50), percentile_us(95));
    fflush(stdout);
}

int main(int count, char **words) {
    if (count < 5 || count > 6)
        return fprintf(stderr, "receiver PORT PATH CLIENTS CONNECTS_PER_S [FIRST_SOURCE]\n"), 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    server.sin_port = htons(atoi(words[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", words[2], words[1]);
    client_count = atoi(words[3]);
    double connects_per_s = atof(words[4]);
    if (count == 6) first_source = atoi(words[5]);
    clients = calloc(client_count, sizeof *clients);
    struct epoll_event *events = calloc(client_count, sizeof *events);
    epoll_fd = epoll_create1(0);
    struct pollfd input = {.fd = 0, .events = POLLIN};
    int64_t started_ns = now_ns(CLOCK_MONOTONIC), next_ns = started_ns;
    for (;;) {
        if (begun < client_count) {
            double due = (now_ns(CLOCK_MONOTONIC) - started_ns) / 1e9 * connects_per_s;
            while (begun < client_count && begun < due && opening < MAX_OPENING) open_next();
        }
        int ready = epoll_wait(epoll_fd, events, client_count, 0);
        for (int i = 0; i < ready; i++) {
            struct client *client = events[i].data.ptr;
            if (client->state == CONNECTING) ask(client);
            else if (client->state != CLOSED) read_from(client);
        }
        if (poll(&input, 1, 0) > 0) {
            char line[64];
            if (read(0, line, sizeof line) <= 0) return 0;
            if (!strncmp(line, "reset", 5)) memset(histogram, 0, sizeof histogram);
            report();
        }
        next_ns += BATCH_NS;
        int64_t now = now_ns(CLOCK_MONOTONIC);
        if (next_ns < now) next_ns = now;
        struct timespec until = {next_ns / 1000000000, next_ns % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
}
