/* A bare sender: what it costs at least to send one message to many connections.

     cc -O2 send_floor.c -o send_floor -lm
     ./send_floor PORT FRAME_FILE RATE

   One process, one epoll, a plain send() to each connection whose turn it is, RATE times a second, spread over 60 ticks
   a second as the other senders do. It answers a WebSocket handshake, but does not prove that it has understood it:
   receiver.c does not check. What a socket does not take at once follows when it can. Several share the port. Prints
   its pid once it listens, ends with its stdin. Each line on stdin is answered by a line of JSON, as
   writing_sender.py does:

     frame FILE             send the message in this file
     writer send|io_uring   io_uring: a batch of sends, one system call
     stats                  only the answer: {"partial": ..., "skipped": ...} */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { TICKS_PER_S = 60, MAX_CONNECTIONS = 65536, TRAILER_BYTES = 20, EVENTS = 1024, BATCH = 1024 };

struct rest { /* of a frame that a socket has not taken whole; a copy, for the next tick has another stamp */
    uint8_t *data;
    size_t from, size;
};

static int connections[MAX_CONNECTIONS], count, epoll_fd, listener, by_ring;
static struct rest rests[MAX_CONNECTIONS]; /* by descriptor */
static uint8_t *frame;
static size_t frame_bytes;
static uint64_t partial, skipped;
static struct { /* of io_uring; fd 0: not used */
    int fd;
    unsigned queued, *sq_tail, *cq_head, *cq_tail, cq_mask;
    struct io_uring_sqe *entries;
    struct io_uring_cqe *completions;
} ring;
static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static int64_t now_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void read_frame(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) perror(path), exit(1);
    fseek(file, 0, SEEK_END);
    size_t length = ftell(file), header = length < 65536 ? 4 : 10;
    rewind(file);
    frame = realloc(frame, header + length);
    frame_bytes = header + length;
    frame[0] = 0x82;
    frame[1] = header == 4 ? 126 : 127;
    for (size_t i = 2; i < header; i++) frame[i] = length >> 8 * (header - 1 - i);
    if (fread(frame + header, 1, length, file) != length) perror(path), exit(1);
    fclose(file);
}

static void watch(int fd, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(epoll_fd, how, fd, &event);
}

static void leave(int fd) {
    for (int i = 0; i < count; i++)
        if (connections[i] == fd) connections[i] = -1; /* slots stay as they are */
    free(rests[fd].data);
    rests[fd].data = NULL;
    close(fd);
}

/* The socket has taken so many bytes of the frame, or none for this reason. */
static void keep_rest(int fd, ssize_t sent, int error) {
    if (sent == (ssize_t)frame_bytes) return;
    if (sent < 0 && error != EAGAIN) return;
    partial++;
    rests[fd].from = sent < 0 ? 0 : sent;
    rests[fd].size = frame_bytes;
    rests[fd].data = memcpy(malloc(frame_bytes), frame, frame_bytes);
    watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

static int open_ring(void) {
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN};
    int fd = syscall(SYS_io_uring_setup, BATCH, &params);
    if (fd < 0) return -1;
    size_t size = params.cq_off.cqes + params.cq_entries * sizeof *ring.completions;
    if (size < params.sq_off.array + BATCH * sizeof(unsigned)) size = params.sq_off.array + BATCH * sizeof(unsigned);
    int how = PROT_READ | PROT_WRITE;
    uint8_t *base = mmap(NULL, size, how, MAP_SHARED, fd, IORING_OFF_SQ_RING);
    ring.entries = mmap(NULL, BATCH * sizeof *ring.entries, how, MAP_SHARED, fd, IORING_OFF_SQES);
    if (base == MAP_FAILED || ring.entries == MAP_FAILED) return close(fd), -1;
    for (unsigned i = 0; i < BATCH; i++) ((unsigned *)(base + params.sq_off.array))[i] = i;
    ring.sq_tail = (unsigned *)(base + params.sq_off.tail);
    ring.cq_head = (unsigned *)(base + params.cq_off.head);
    ring.cq_tail = (unsigned *)(base + params.cq_off.tail);
    ring.cq_mask = params.cq_entries - 1;
    ring.completions = (struct io_uring_cqe *)(base + params.cq_off.cqes);
    return ring.fd = fd;
}

/* Nothing waits (MSG_DONTWAIT), so all is done when the system call returns; only what failed has a completion. */
static void submit(void) {
    if (!ring.queued) return;
    if (syscall(SYS_io_uring_enter, ring.fd, ring.queued, 0, 0, NULL, 0) != ring.queued) perror("io_uring"), exit(1);
    ring.queued = 0;
    for (; *ring.cq_head != __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE); ++*ring.cq_head) {
        struct io_uring_cqe *one = &ring.completions[*ring.cq_head & ring.cq_mask];
        keep_rest(one->user_data, one->res, -one->res);
    }
}

static void queue(int fd) {
    ring.entries[*ring.sq_tail % BATCH] = (struct io_uring_sqe){
        .opcode = IORING_OP_SEND, .flags = IOSQE_CQE_SKIP_SUCCESS, .fd = fd, .addr = (uintptr_t)frame,
        .len = frame_bytes, .msg_flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL, .user_data = fd};
    __atomic_store_n(ring.sq_tail, *ring.sq_tail + 1, __ATOMIC_RELEASE);
    if (++ring.queued == BATCH) submit();
}

static void send_to(int fd) {
    if (rests[fd].data) skipped++; /* it has not taken the last one yet */
    else if (by_ring) queue(fd);
    else {
        ssize_t sent = send(fd, frame, frame_bytes, MSG_NOSIGNAL);
        keep_rest(fd, sent, errno);
    }
}

static void send_rest(int fd) {
    struct rest *rest = &rests[fd];
    ssize_t sent = send(fd, rest->data + rest->from, rest->size - rest->from, MSG_NOSIGNAL);
    if (sent > 0) rest->from += sent;
    if (rest->from < rest->size && (sent > 0 || errno == EAGAIN)) return;
    free(rest->data);
    rest->data = NULL;
    watch(fd, EPOLLIN, EPOLL_CTL_MOD);
}

static void obey(char *line) {
    line[strcspn(line, "\n")] = 0;
    if (!strncmp(line, "frame ", 6)) read_frame(line + 6);
    if (!strncmp(line, "writer ", 7)) by_ring = !strcmp(line, "writer io_uring");
    if (by_ring && !ring.fd && open_ring() < 0) {
        by_ring = 0;
        printf("{\"error\": \"io_uring: %s\"}\n", strerror(errno));
    } else {
        printf("{\"partial\": %lu, \"skipped\": %lu}\n", partial, skipped);
    }
    fflush(stdout);
}

/* Someone has connected, asked for the upgrade, left, or can take more. */
static void handle(struct epoll_event *event) {
    char input[2048];
    int fd = event->data.fd;
    if (fd == 0) {
        ssize_t length = read(0, input, sizeof input - 1);
        if (length <= 0) exit(0);
        input[length] = 0;
        obey(input);
    } else if (fd == listener) {
        int one = 1;
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            watch(fd, EPOLLIN, EPOLL_CTL_ADD);
        }
    } else {
        if (event->events & EPOLLOUT && rests[fd].data) send_rest(fd);
        if (!(event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
        ssize_t length = recv(fd, input, sizeof input, 0);
        if (length <= 0) {
            leave(fd);
        } else if (length > 4 && !memcmp(input, "GET ", 4)) {
            if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) > 0 && count < MAX_CONNECTIONS)
                connections[count++] = fd;
        }
    }
}

int main(int argument_count, char **words) {
    if (argument_count != 4) return fprintf(stderr, "send_floor PORT FRAME_FILE RATE\n"), 2;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < MAX_CONNECTIONS ? limit.rlim_max : MAX_CONNECTIONS;
    setrlimit(RLIMIT_NOFILE, &limit);
    read_frame(words[2]);
    double rate = atof(words[3]);
    int slots = lround(TICKS_PER_S / rate);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return perror("bind"), 1;
    epoll_fd = epoll_create1(0);
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    watch(0, EPOLLIN, EPOLL_CTL_ADD);
    printf("%d\n", getpid());
    fflush(stdout);
    struct epoll_event events[EVENTS];
    int64_t next_ns = now_ns(CLOCK_MONOTONIC);
    for (uint64_t tick = 0;; tick++) {
        uint64_t sequence = tick / slots, stamp_us = now_ns(CLOCK_REALTIME) / 1000;
        uint32_t interval_us = 1e6 / rate;
        uint8_t *trailer = frame + frame_bytes - TRAILER_BYTES;
        memcpy(trailer, &sequence, 8);
        memcpy(trailer + 8, &stamp_us, 8);
        memcpy(trailer + 16, &interval_us, 4);
        for (int i = tick % slots; i < count; i += slots)
            if (connections[i] >= 0) send_to(connections[i]);
        submit();
        next_ns += 1000000000 / TICKS_PER_S;
        if (next_ns < now_ns(CLOCK_MONOTONIC)) next_ns = now_ns(CLOCK_MONOTONIC);
        for (;;) {
            int64_t left_ns = next_ns - now_ns(CLOCK_MONOTONIC);
            struct timespec timeout = {0, left_ns < 0 ? 0 : left_ns};
            int ready = epoll_pwait2(epoll_fd, events, EVENTS, &timeout, NULL);
            for (int i = 0; i < ready; i++) handle(&events[i]);
            if (left_ns <= 0) break;
        }
    }
}
