/* helper/parent.c - starting the child, calling it, burying it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/thread.h"
#include "base/wait.h"
#include "helper/frame.h"

struct helper {
    char *exe;
    struct mutex lock;           /* guards these: */
    struct list waiting;         /* struct caller, by round */
    const struct caller *served; /* whose call has what is below; NULL: nobody's */
    uint64_t round;              /* of the last one served */

    pid_t pid; /* 0: no child */
    int fd;
};

struct caller {
    struct list link; /* in helper.waiting */
    const char *who;
    uint64_t round;
    struct cond turn; /* it is the one that is served */
};

int helper_open(struct helper **out, const char *exe)
{
    *out = NULL;
    struct helper *h = mem_zalloc(sizeof(*h));
    if (!h)
        return REALM_E_NOMEM;
    h->exe = mem_strdup(exe ? exe : "/proc/self/exe");
    list_init(&h->waiting);
    int status = h->exe ? mutex_init(&h->lock) : REALM_E_NOMEM;
    if (status == 0) {
        *out = h;
        return 0;
    }
    mem_free(h->exe);
    mem_free(h);
    return status;
}

/* Ends the child; returns the signal that had killed it before, or 0. */
static int bury(struct helper *h)
{
    int wstatus = 0;
    if (!h->pid)
        return 0;
    close(h->fd);
    pid_t done = waitpid(h->pid, &wstatus, WNOHANG);
    if (done == 0) {
        kill(h->pid, SIGKILL);
        while (waitpid(h->pid, &wstatus, 0) < 0 && errno == EINTR)
            ;
        wstatus = 0;
    }
    h->pid = 0;
    return WIFSIGNALED(wstatus) ? WTERMSIG(wstatus) : 0;
}

void helper_close(struct helper *h)
{
    if (!h)
        return;
    bury(h);
    mutex_destroy(&h->lock);
    mem_free(h->exe);
    mem_free(h);
}

/* The child gets its end of the socket and no other file of ours. */
static int give_files(posix_spawn_file_actions_t *actions, int child_fd)
{
    return posix_spawn_file_actions_adddup2(actions, child_fd, HELPER_FD) ||
           posix_spawn_file_actions_addclosefrom_np(actions, HELPER_FD + 1) ||
           /* What a library says when it gives up is not for the terminal. */
           posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDWR, 0) ||
           posix_spawn_file_actions_adddup2(actions, STDIN_FILENO, STDOUT_FILENO) ||
           posix_spawn_file_actions_adddup2(actions, STDIN_FILENO, STDERR_FILENO);
}

static int spawn(struct helper *h, int child_fd)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none;
    char *argv[] = {"realm", "helper", NULL};
    if (posix_spawn_file_actions_init(&actions))
        return REALM_E_NOMEM;
    if (posix_spawnattr_init(&attr)) {
        posix_spawn_file_actions_destroy(&actions);
        return REALM_E_NOMEM;
    }
    sigemptyset(&none);
    int failed = give_files(&actions, child_fd) || posix_spawnattr_setsigmask(&attr, &none) ||
                 /* Its own group: Ctrl-C at the terminal is the parent's to handle. */
                 posix_spawnattr_setpgroup(&attr, 0) ||
                 posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP) ||
                 posix_spawn(&h->pid, h->exe, &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        h->pid = 0;
    return failed ? REALM_E_SYS : 0;
}

/* Whether the child is gone, though no call has failed: the system may have been
 * short of memory.  Leaves it to bury. */
static bool died(const struct helper *h)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)h->pid, &info, WEXITED | WNOHANG | WNOWAIT) || info.si_pid;
}

static int start(struct helper *h)
{
    int pair[2];
    if (h->pid && died(h))
        bury(h);
    if (h->pid)
        return 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return REALM_E_SYS;
    /* dup2 onto itself would keep close-on-exec, so the child's end must not be
     * HELPER_FD already. */
    if (pair[1] == HELPER_FD) {
        int other = fcntl(pair[1], F_DUPFD_CLOEXEC, HELPER_FD + 1);
        close(pair[1]);
        pair[1] = other;
    }
    int status = pair[1] < 0 ? REALM_E_SYS : spawn(h, pair[1]);
    if (pair[1] >= 0)
        close(pair[1]);
    if (status)
        close(pair[0]);
    else
        h->fd = pair[0];
    return status;
}

static int send_call(struct helper *h, const struct helper_task *task,
                     const struct realm_wait *wait)
{
    struct frame_call call = {.op = task->op, .parts = (uint32_t)task->n_parts};
    for (size_t i = 0; i < task->n_parts; i++)
        call.bytes[i] = task->parts[i].n;
    int status = frame_send(h->fd, &call, sizeof(call), wait);
    for (size_t i = 0; !status && i < task->n_parts; i++)
        status = frame_send(h->fd, task->parts[i].p, task->parts[i].n, wait);
    return status;
}

/* The child's answer; *said tells whether status is the child's own word. */
static int receive(struct helper *h, const struct realm_wait *wait, struct buf *out, bool *said,
                   struct realm_error *err)
{
    struct frame_answer answer;
    *said = false;
    int status = frame_recv(h->fd, &answer, sizeof(answer), wait);
    if (status)
        return status;
    if (answer.status > 0 || answer.bytes > HELPER_ANSWER_BYTES_MAX)
        return REALM_E_IO;
    if (answer.status) {
        char sentence[REALM_ERROR_MAX] = {0};
        if (answer.bytes >= sizeof(sentence))
            return REALM_E_IO;
        status = frame_recv(h->fd, sentence, (size_t)answer.bytes, wait);
        *said = !status;
        return status ? status : err_set(err, answer.status, "%s", sentence);
    }
    if (buf_reserve(out, (size_t)answer.bytes))
        return REALM_E_NOMEM;
    status = frame_recv(h->fd, out->p + out->n, (size_t)answer.bytes, wait);
    if (!status)
        out->n += (size_t)answer.bytes;
    return status;
}

/* With the lock.  One round after the last of this name that waits or is served. */
static void stand(struct helper *h, struct caller *me)
{
    me->round = h->round;
    if (h->served && strcmp(h->served->who, me->who) == 0)
        me->round = h->served->round + 1;
    struct list *i = h->waiting.prev, *before = NULL;
    for (; i != &h->waiting; i = i->prev) {
        const struct caller *c = CONTAINER_OF(i, struct caller, link);
        if (strcmp(c->who, me->who) == 0) {
            me->round = c->round + 1;
            break;
        }
    }
    for (i = h->waiting.next; i != &h->waiting && !before; i = i->next)
        if (CONTAINER_OF(i, struct caller, link)->round > me->round)
            before = i;
    list_add_tail(before ? before : &h->waiting, &me->link);
}

/* With the lock: the next one's turn begins. */
static void call_next(struct helper *h)
{
    struct caller *next = NULL;
    if (!list_empty(&h->waiting)) {
        next = CONTAINER_OF(h->waiting.next, struct caller, link);
        list_remove(&next->link);
        h->round = next->round;
        cond_signal(&next->turn);
    }
    h->served = next;
}

/* Waits for the caller's turn; REALM_E_DEADLINE or REALM_E_CANCELLED. */
static int take_turn(struct helper *h, struct caller *me, const struct realm_wait *wait)
{
    int status = 0;
    mutex_lock(&h->lock);
    stand(h, me);
    if (!h->served)
        call_next(h);
    while (h->served != me && !(status = wait_given_up(wait, &h->lock)) && h->served != me)
        wait_sleep(wait, &me->turn, &h->lock);
    if (h->served == me)
        status = 0;
    else
        list_remove(&me->link);
    mutex_unlock(&h->lock);
    return status;
}

static void end_turn(struct helper *h)
{
    mutex_lock(&h->lock);
    call_next(h);
    mutex_unlock(&h->lock);
}

/* One call, in its turn; err is set whenever it fails. */
static int exchange(struct helper *h, const struct helper_task *task, const struct realm_wait *wait,
                    struct buf *out, struct realm_error *err)
{
    bool said = false;
    int status = start(h);
    if (status)
        return err_set(err, status, "the helper process cannot be started");
    status = send_call(h, task, wait);
    if (!status)
        status = receive(h, wait, out, &said, err);
    if (!status || said)
        return status;
    int killed_by = bury(h);
    if (status == REALM_E_DEADLINE)
        return err_set(err, status, "the helper process did not finish in time");
    if (status == REALM_E_CANCELLED)
        return err_set(err, status, "the caller went away");
    if (status == REALM_E_NOMEM)
        return err_nomem(err, "the helper's answer");
    return err_set(err, REALM_E_LIMIT, "the helper process reached a limit%s",
                   killed_by == SIGXCPU ? " of processor time" : " of memory, or crashed");
}

int helper_call(struct helper *h, const struct helper_task *task, struct buf *out,
                struct realm_error *err)
{
    struct realm_wait wait = task->wait ? *task->wait : (struct realm_wait){0};
    struct caller me = {.who = task->who ? task->who : ""};
    list_init(&me.link);
    int status = cond_init(&me.turn);
    if (status)
        return err_set(err, status, "cannot wait for the helper process");
    status = take_turn(h, &me, &wait);
    if (status) {
        cond_destroy(&me.turn);
        return err_set(err, status, "the helper process is busy, and the wait for it ended: %s",
                       realm_status_name(status));
    }
    uint64_t deadline_ns = clock_ns(clock_system()) + task->timeout_ms * 1000000ull;
    if (!wait.deadline_ns || wait.deadline_ns > deadline_ns)
        wait.deadline_ns = deadline_ns;
    status = exchange(h, task, &wait, out, err);
    end_turn(h);
    cond_destroy(&me.turn);
    return status;
}
