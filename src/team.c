/* One team for the whole process, that helps and is never waited for.
 *
 * A caller opens a job and works on it at once: it takes parts until none is left, then waits for those that
 * others are still busy with. The helpers are one thread, the leader, and the OpenMP team that it brings
 * where more than two threads may work. So a helper that sleeps, or that another process keeps off its core,
 * costs a caller nothing: whoever arrives late finds no part left. (Inside an OpenMP region of its own, a
 * caller waits at the closing barrier for every thread of the team, also for one that never ran: on a machine
 * with one busy core for a whole time slice.)
 *
 * It follows that there is one team however many threads call; whoever finds it taken works alone, which is
 * right when the cores are busy. And a forked child, which has no leader, lacks nothing but help: it starts a
 * leader of its own, whose OpenMP team is as new as itself. (libgomp keeps its idle workers in the thread
 * that made the region; a child whose forking thread had any would wait for them for ever.) */
#define _GNU_SOURCE
#include "team.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>
#if defined(__linux__)
  #include <sys/syscall.h>
#endif

enum {
    /* The leader looks out for the next job for so long before it sleeps, so a call now and then costs
     * little of another core's time ... */
    PATIENCE_NS = 50 * 1000,
    /* ... but for twice as long as it took the last one to come, if that was soon: calls that follow one
     * another, with some use of their results between them, find it awake (docs/decisions.md, "One team,
     * which helps"). */
    SOON_NS = 250 * 1000,
    /* Jobs that follow one another as closely as this are worth waking it, whatever their size. */
    AT_ONCE_NS = 10 * 1000,
    LOOKS = 64, /* between two looks at the clock */
};

/* What is open: the number of the job and the parts that nobody has taken yet, from `first` to before
 * `end`: 32, 16 and 16 bits in one word, so that taking a part is one compare-and-swap that fails if the
 * job is no longer the one that was looked at. The caller takes parts from the front and the helpers from
 * the back: so from call to call each core works on about the same part of a recycled output, whose lines
 * are still in its caches. */
static _Atomic uint64_t ticket;
#define NUMBER(t) ((uint32_t)((t) >> 32))
#define FIRST(t) ((uint32_t)((t) >> 16) & 0xffff)
#define END(t) ((uint32_t)(t) & 0xffff)
#define IS_OPEN(t) (FIRST(t) < END(t))
#define NEW_TICKET(t, parts) ((uint64_t)(NUMBER(t) + 1) << 32 | (uint64_t)(parts))
#define WITHOUT_FIRST(t) ((t) + (1 << 16))
#define WITHOUT_LAST(t) ((t) - 1)

/* The job. Written by the owner of the team while nothing is open. */
static _Atomic(fe_job) job;
static _Atomic(void *) state;
static atomic_int parts, threads;
static atomic_int done; /* parts */

static atomic_int taken; /* the team has an owner: a caller */
static atomic_int started; /* the leader lives */
static atomic_int leader_sleeps, owner_sleeps;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for sleeping, nothing else */
static pthread_cond_t work = PTHREAD_COND_INITIALIZER, finished = PTHREAD_COND_INITIALIZER;
static void (*bring_team)(int n, uint32_t number);

static _Thread_local int last_team = 1;
void fe_note_team(int n) { last_team = n; }
int fe_last_team(void) { return last_team; }

static inline void pause_core(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int is_open(void) { return IS_OPEN(atomic_load(&ticket)); }
static int is_finished(void)
{
    return atomic_load(&done) == atomic_load_explicit(&parts, memory_order_relaxed);
}

/* Look out for something for a while. Whoever shares this core may go first: it may be the one who is
 * awaited. */
static int comes_soon(int (*is_true)(void), int64_t patience)
{
    for (int64_t end = fe_now_ns() + patience; fe_now_ns() < end; sched_yield())
        for (int i = 0; i < LOOKS; ++i) {
            if (is_true())
                return 1;
            pause_core();
        }
    return 0;
}

/* Sleep, unless it is true. Who makes it true looks at `sleeps` afterwards (both in sequentially
 * consistent order, so one of the two sees the other) and then calls wake. */
static void sleep_until(int (*is_true)(void), atomic_int *sleeps, pthread_cond_t *condition)
{
    pthread_mutex_lock(&lock);
    atomic_store(sleeps, 1);
    if (!is_true())
        pthread_cond_wait(condition, &lock);
    atomic_store(sleeps, 0);
    pthread_mutex_unlock(&lock);
}

#if defined(__linux__)
/* The scheduler may wake a thread on the core of whoever wakes it, though others are idle: always, where
 * it does not know that they share a cache, as on some virtual machines. It may also move a leader that
 * looks out for work to the core of a caller that sleeps for a moment. The leader would then come when the
 * caller has done the work. So the caller keeps it off its own core. */
static struct {
    _Alignas(128) atomic_int core; /* where it last looked out for work; alone on its cache line */
    _Alignas(128) atomic_int id;
    atomic_int banned_from; /* a core, or -1. The owner sets it while the leader sleeps or cannot run */
} leader = {.banned_from = -1};

static void keep_leader_off_this_core(void)
{
    int here = sched_getcpu(), id = atomic_load(&leader.id);
    int is_here = atomic_load_explicit(&leader.core, memory_order_relaxed) == here;
    cpu_set_t others;
    if (id == 0 || here < 0 || (!is_here && (!atomic_load(&leader_sleeps) || leader.banned_from == here)))
        return;
    if (sched_getaffinity(getpid(), sizeof others, &others) != 0)
        return;
    CPU_CLR(here, &others);
    if (CPU_COUNT(&others) && sched_setaffinity(id, sizeof others, &others) == 0)
        atomic_store(&leader.banned_from, here);
}

/* Its OpenMP team, whose threads start with its own affinity, may run wherever the main thread may. */
static void lift_ban(void)
{
    cpu_set_t cores;
    if (atomic_exchange(&leader.banned_from, -1) < 0)
        return;
    if (sched_getaffinity(getpid(), sizeof cores, &cores) == 0)
        sched_setaffinity(0, sizeof cores, &cores);
}

static int leader_sees_job(void)
{
    atomic_store_explicit(&leader.core, sched_getcpu(), memory_order_relaxed);
    return is_open();
}
#else
static void keep_leader_off_this_core(void) {}
static void lift_ban(void) {}
static int leader_sees_job(void) { return is_open(); }
#endif

static void wake(atomic_int *sleeps, pthread_cond_t *condition)
{
    if (!atomic_load(sleeps))
        return;
    pthread_mutex_lock(&lock); /* not between its look and its sleep */
    pthread_mutex_unlock(&lock);
    pthread_cond_signal(condition);
}

/* Do parts of a job until none is left. */
static void work_on(uint32_t number, int is_caller)
{
    uint64_t seen = atomic_load_explicit(&ticket, memory_order_acquire);
    while (IS_OPEN(seen) && NUMBER(seen) == number) {
        /* Of this very job if the ticket is still the same below: the owner changes these only when every
         * part is done. */
        fe_job do_part = atomic_load_explicit(&job, memory_order_relaxed);
        void *its_state = atomic_load_explicit(&state, memory_order_relaxed);
        int its_parts = atomic_load_explicit(&parts, memory_order_relaxed);
        uint64_t without = is_caller ? WITHOUT_FIRST(seen) : WITHOUT_LAST(seen);
        if (!atomic_compare_exchange_weak_explicit(&ticket, &seen, without, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        do_part(its_state, is_caller ? FIRST(seen) : END(seen) - 1, its_parts);
        if (atomic_fetch_add(&done, 1) + 1 == its_parts)
            wake(&owner_sleeps, &finished);
        seen = atomic_load_explicit(&ticket, memory_order_acquire);
    }
}

void fe_help(uint32_t number) { work_on(number, 0); }

static int start_thread(pthread_t *thread, void *(*run)(void *));

/* OpenMP ends the process where it cannot start a thread, as under a limit on the tasks of a container. So
 * before it starts more than it has, as many and some more are held at once, to see whether there is room
 * for them. Only the leader waits for that; callers work. */
enum { BETWEEN_TRIALS_NS = 1000 * 1000 * 1000, MOST_HELPERS = 4096 /* as in threads.py */ };
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static int have = 1; /* OpenMP keeps the threads of its last team, and no more */
static int64_t refused;

static void *pass_gate(void *nothing)
{
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return nothing;
}

static int may_bring(int n)
{
    pthread_t trial[2 * MOST_HELPERS];
    int made = 0, wanted = n - have + 2 + n / 8;
    if (n <= have) {
        have = n;
        return 1;
    }
    if (n > MOST_HELPERS || (refused && fe_now_ns() - refused < BETWEEN_TRIALS_NS))
        return 0;
    pthread_mutex_lock(&gate);
    while (made < wanted && start_thread(&trial[made], pass_gate))
        ++made;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < made; ++i)
        pthread_join(trial[i], NULL);
    refused = made < wanted ? fe_now_ns() : 0;
    if (refused)
        return 0;
    /* The system counts a thread for a moment after it was joined. */
    nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    have = n;
    return 1;
}

static void *lead(void *nothing)
{
    (void)nothing;
    int64_t patience = PATIENCE_NS;
#if defined(__linux__)
    atomic_store(&leader.id, (int)syscall(SYS_gettid)); /* not gettid: glibc has that since 2.30 */
#endif
    for (;;) {
        int64_t since = fe_now_ns();
        while (!comes_soon(leader_sees_job, patience))
            sleep_until(is_open, &leader_sleeps, &work);
        int64_t gap = fe_now_ns() - since;
        patience = gap < SOON_NS && 2 * gap > PATIENCE_NS ? 2 * gap : PATIENCE_NS;
        uint32_t number = NUMBER(atomic_load_explicit(&ticket, memory_order_acquire));
        int others = atomic_load_explicit(&threads, memory_order_relaxed) - 1;
        if (others > 1 && may_bring(others)) {
            lift_ban();
            bring_team(others, number);
        } else {
            fe_help(number);
        }
    }
    return NULL;
}

/* Start a thread that takes no signals sent to the process: Python's handlers wait for its main thread,
 * which must be the one to be woken. Those that a fault of the thread itself raises stay, for faulthandler
 * and its like. */
static int start_thread(pthread_t *thread, void *(*run)(void *))
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
    sigset_t others, before;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; ++i)
        sigdelset(&others, faults[i]);
    pthread_sigmask(SIG_SETMASK, &others, &before);
    int failed = pthread_create(thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0;
}

/* Whether there is a leader now. It may run wherever the process's main thread may, also if the thread
 * that first needs it is pinned to one core. */
static int start_leader(void)
{
    pthread_t thread;
    if (!start_thread(&thread, lead))
        return 0;
#if defined(__linux__)
    cpu_set_t cpus;
    if (sched_getaffinity(getpid(), sizeof cpus, &cpus) == 0)
        pthread_setaffinity_np(thread, sizeof cpus, &cpus);
    pthread_setname_np(thread, "fastembed");
#endif
    pthread_detach(thread);
    return 1;
}

int fe_may_help(int worth_waking)
{
    static _Atomic int64_t asked;
    int64_t now = fe_now_ns(), before = atomic_exchange_explicit(&asked, now, memory_order_relaxed);
    if (!FE_OPENMP || atomic_load_explicit(&taken, memory_order_relaxed))
        return 0;
    if (worth_waking || now - before < AT_ONCE_NS)
        return 1;
    return atomic_load(&started) && !atomic_load(&leader_sleeps);
}

int fe_try_run(fe_job its_job, void *its_state, ptrdiff_t its_parts, int its_threads)
{
    if (!FE_OPENMP || its_parts > FE_MOST_PARTS || atomic_exchange_explicit(&taken, 1, memory_order_acquire))
        return 0;
    if (!atomic_load_explicit(&started, memory_order_relaxed)) {
        if (!start_leader()) { /* nobody can help; perhaps next time */
            atomic_store_explicit(&taken, 0, memory_order_release);
            return 0;
        }
        atomic_store(&started, 1);
    }
    atomic_store_explicit(&job, its_job, memory_order_relaxed);
    atomic_store_explicit(&state, its_state, memory_order_relaxed);
    atomic_store_explicit(&parts, (int)its_parts, memory_order_relaxed);
    atomic_store_explicit(&threads, its_threads, memory_order_relaxed);
    atomic_store_explicit(&done, 0, memory_order_relaxed);
    uint64_t open = NEW_TICKET(atomic_load_explicit(&ticket, memory_order_relaxed), its_parts);
    atomic_store(&ticket, open);
    keep_leader_off_this_core();
    wake(&leader_sleeps, &work);
    work_on(NUMBER(open), 1);
    while (!is_finished() && !comes_soon(is_finished, PATIENCE_NS))
        sleep_until(is_finished, &owner_sleeps, &finished);
    atomic_store_explicit(&taken, 0, memory_order_release);
    return 1;
}

/* Only the forking thread is there; whoever had the team or held the lock is not. */
static void in_child(void)
{
    static const pthread_mutex_t new_lock = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_cond_t new_condition = PTHREAD_COND_INITIALIZER;
    lock = gate = new_lock;
    work = finished = new_condition;
    atomic_store(&ticket, NEW_TICKET(atomic_load(&ticket), 0));
    atomic_store(&started, 0);
    have = 1;
    refused = 0;
    atomic_store(&leader_sleeps, 0);
    atomic_store(&owner_sleeps, 0);
#if defined(__linux__)
    atomic_store(&leader.id, 0);
    atomic_store(&leader.banned_from, -1);
#endif
    atomic_store(&taken, 0);
}

int fe_open_team(void (*bring)(int n, uint32_t number))
{
    bring_team = bring;
    return pthread_atfork(NULL, NULL, in_child);
}
