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

enum {
    /* The leader looks out for the next job for so long before it sleeps, so a call now and then costs
     * little of another core's time ... */
    PATIENCE_NS = 50 * 1000,
    /* ... but for twice as long as it took the last one to come, if that was soon: calls that follow one
     * another, with some use of their results between them, find it awake (docs/decisions.md, "One team,
     * which helps"). */
    SOON_NS = 250 * 1000,
    LOOKS = 16, /* between two looks at the clock */
};

/* What is open: the number of the job, its parts, and the next part to take: 32, 16 and 16 bits in one word,
 * so that taking a part is one compare-and-swap that fails if the job is no longer the one that was looked
 * at. */
static _Atomic uint64_t ticket;
#define PARTS(t) ((uint32_t)((t) >> 16) & 0xffff)
#define NEXT(t) ((uint32_t)(t) & 0xffff)
#define NUMBER(t) ((uint32_t)((t) >> 32))
#define IS_OPEN(t) (NEXT(t) < PARTS(t))
#define NEW_TICKET(t, parts) ((uint64_t)(NUMBER(t) + 1) << 32 | (uint64_t)(parts) << 16)

/* The job. Written by the owner of the team while nothing is open. */
static _Atomic(fe_job) job;
static _Atomic(void *) state;
static atomic_int threads;
static atomic_uint done; /* parts */

static atomic_int taken; /* the team has an owner: a caller */
static atomic_int started; /* the leader lives, or could not be made */
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
    return atomic_load(&done) == PARTS(atomic_load_explicit(&ticket, memory_order_relaxed));
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

static void wake(atomic_int *sleeps, pthread_cond_t *condition)
{
    if (!atomic_load(sleeps))
        return;
    pthread_mutex_lock(&lock); /* not between its look and its sleep */
    pthread_mutex_unlock(&lock);
    pthread_cond_signal(condition);
}

void fe_help(uint32_t number)
{
    uint64_t seen = atomic_load_explicit(&ticket, memory_order_acquire);
    while (IS_OPEN(seen) && NUMBER(seen) == number) {
        /* Of this very job if the ticket is still the same below: the owner changes these only when every
         * part is done. */
        fe_job do_part = atomic_load_explicit(&job, memory_order_relaxed);
        void *its_state = atomic_load_explicit(&state, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&ticket, &seen, seen + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        do_part(its_state, NEXT(seen), PARTS(seen));
        if (atomic_fetch_add(&done, 1) + 1 == PARTS(seen))
            wake(&owner_sleeps, &finished);
        seen = atomic_load_explicit(&ticket, memory_order_acquire);
    }
}

static void *lead(void *nothing)
{
    (void)nothing;
    int64_t patience = PATIENCE_NS;
    for (;;) {
        int64_t since = fe_now_ns();
        while (!comes_soon(is_open, patience))
            sleep_until(is_open, &leader_sleeps, &work);
        int64_t gap = fe_now_ns() - since;
        patience = gap < SOON_NS && 2 * gap > PATIENCE_NS ? 2 * gap : PATIENCE_NS;
        uint32_t number = NUMBER(atomic_load_explicit(&ticket, memory_order_acquire));
        int others = atomic_load_explicit(&threads, memory_order_relaxed) - 1;
        if (others > 1)
            bring_team(others, number);
        else
            fe_help(number);
    }
    return NULL;
}

/* The leader takes no signals (Python's handlers wait for its main thread, which must be the one to be
 * woken), and may run wherever the process may, also if the thread that first needed it is pinned to one
 * core. */
static void start_leader(void)
{
    sigset_t all, before;
    pthread_t leader;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&leader, NULL, lead, NULL) == 0) {
#if defined(__linux__)
        cpu_set_t cpus;
        if (sched_getaffinity(getpid(), sizeof cpus, &cpus) == 0)
            pthread_setaffinity_np(leader, sizeof cpus, &cpus);
        pthread_setname_np(leader, "fastembed");
#endif
        pthread_detach(leader);
    } /* else: nobody will ever help, and every call does its work all the same */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int fe_may_help(int worth_waking)
{
    if (!FE_OPENMP || atomic_load_explicit(&taken, memory_order_relaxed))
        return 0;
    return worth_waking || (atomic_load(&started) && !atomic_load(&leader_sleeps));
}

int fe_try_run(fe_job its_job, void *its_state, ptrdiff_t parts, int its_threads)
{
    if (!FE_OPENMP || parts > FE_MOST_PARTS || atomic_exchange_explicit(&taken, 1, memory_order_acquire))
        return 0;
    if (!atomic_exchange(&started, 1))
        start_leader();
    atomic_store_explicit(&job, its_job, memory_order_relaxed);
    atomic_store_explicit(&state, its_state, memory_order_relaxed);
    atomic_store_explicit(&threads, its_threads, memory_order_relaxed);
    atomic_store_explicit(&done, 0, memory_order_relaxed);
    uint64_t open = NEW_TICKET(atomic_load_explicit(&ticket, memory_order_relaxed), parts);
    atomic_store(&ticket, open);
    wake(&leader_sleeps, &work);
    fe_help(NUMBER(open));
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
    lock = new_lock;
    work = finished = new_condition;
    atomic_store(&ticket, NEW_TICKET(atomic_load(&ticket), 0));
    atomic_store(&started, 0);
    atomic_store(&leader_sleeps, 0);
    atomic_store(&owner_sleeps, 0);
    atomic_store(&taken, 0);
}

int fe_open_team(void (*bring)(int n, uint32_t number))
{
    bring_team = bring;
    return pthread_atfork(NULL, NULL, in_child);
}
