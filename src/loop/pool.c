/* pool.c - a few threads for what blocks.
 *
 *      submit -> [ job, job, job ] -> thread: run() -> the submitter's mailbox -> on_done()
 *                 at most jobs_max
 *
 * One queue under one lock with one condition variable.  That is enough: each job is a file or an
 * fsync, thousands a second at most, and the lock is held for a few pointers.  Discarded: a queue
 * per thread (a job could wait behind a slow disk while another thread is idle), and io_uring (it
 * covers reading and fsync, but not hashing, nor the engine's loading of machine code, and many
 * kernels forbid it).
 *
 * The links of the queue are those of the job's message, which is not needed until the way back: so
 * submitting never allocates.
 *
 * Lifetime: a process object.  A job belongs to its submitter until it is taken, then to the pool
 * until on_done is called (or, where nobody waits for it, until it has run).  Threading: submit
 * from any thread; new and free from the one that owns the pool. */
#include "loop/pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/error.h"
#include "loop/thread.h"

struct fm_pool {
    size_t jobs_max;        /* never changes */
    unsigned threads_count; /* never changes once the pool is made */

    pthread_mutex_t lock;     /* for what follows */
    pthread_cond_t work;      /* a job came, or the pool closes */
    struct fm_message *first; /* the queue, through `next`; NULL while empty */
    struct fm_message **last; /* where the next one is linked */
    size_t jobs_count;        /* in the queue; <= jobs_max */
    bool closing;             /* threads end when the queue is empty; nothing is taken any more */

    pthread_t threads[]; /* never change once the pool is made */
};

static void lock(struct fm_pool *pool)
{
    int error = pthread_mutex_lock(&pool->lock);
    FM_ASSERT(error == 0);
}

static void unlock(struct fm_pool *pool)
{
    int error = pthread_mutex_unlock(&pool->lock);
    FM_ASSERT(error == 0);
}

/* Called with the lock held, and waits until there is a job.  NULL: this thread is to end. */
static struct fm_job *next_job(struct fm_pool *pool)
{
    while (!pool->first && !pool->closing) {
        int error = pthread_cond_wait(&pool->work, &pool->lock);
        FM_ASSERT(error == 0);
    }
    struct fm_message *message = pool->first;
    if (!message)
        return NULL;
    pool->first = message->next;
    if (!pool->first)
        pool->last = &pool->first;
    pool->jobs_count -= 1;
    return FM_CONTAINER_OF(message, struct fm_job, message);
}

static void *thread_main(void *data)
{
    struct fm_pool *pool = data;
    lock(pool);
    struct fm_job *job = NULL;
    while ((job = next_job(pool)) != NULL) {
        unlock(pool);
        struct fm_mailbox *home = job->home; /* `run` may free a job that nobody waits for */
        job->run(job);
        if (home)
            fm_mailbox_post(home, &job->message); /* the job is not ours any more */
        lock(pool);
    }
    unlock(pool);
    return NULL;
}

static void on_message(struct fm_message *message)
{
    struct fm_job *job = FM_CONTAINER_OF(message, struct fm_job, message);
    job->on_done(job);
}

static int start_threads(struct fm_pool *pool, unsigned threads)
{
    int failed = 0;
    while (!failed && pool->threads_count < threads) {
        failed =
            fm_thread_start(&pool->threads[pool->threads_count], "faasm-io", thread_main, pool);
        if (!failed)
            pool->threads_count += 1;
    }
    return failed;
}

int fm_pool_new(unsigned threads, size_t jobs_max, struct fm_pool **ret_pool)
{
    FM_ASSERT(threads > 0 && jobs_max > 0);
    struct fm_pool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->threads[0]));
    if (!pool)
        return FM_ERR_NOMEM;
    pool->jobs_max = jobs_max;
    pool->last = &pool->first;
    int error = pthread_mutex_init(&pool->lock, NULL);
    FM_ASSERT(error == 0); /* needs no memory on Linux, nor does the next */
    error = pthread_cond_init(&pool->work, NULL);
    FM_ASSERT(error == 0);

    error = start_threads(pool, threads);
    if (error) {
        fm_pool_free(pool);
        return error;
    }
    *ret_pool = pool;
    return 0;
}

void fm_pool_stop(struct fm_pool *pool)
{
    if (!pool)
        return;
    lock(pool);
    pool->closing = true;
    int error = pthread_cond_broadcast(&pool->work);
    FM_ASSERT(error == 0);
    unlock(pool);

    for (unsigned i = 0; i < pool->threads_count; i++) {
        error = pthread_join(pool->threads[i], NULL);
        FM_ASSERT(error == 0); /* fails where a job frees its own pool */
    }
    pool->threads_count = 0;
    FM_ASSERT(!pool->first);
}

struct fm_pool *fm_pool_free(struct fm_pool *pool)
{
    if (!pool)
        return NULL;
    fm_pool_stop(pool);
    int error = pthread_cond_destroy(&pool->work);
    FM_ASSERT(error == 0);
    error = pthread_mutex_destroy(&pool->lock);
    FM_ASSERT(error == 0);
    free(pool);
    return NULL;
}

/* The condition is signalled before the lock is given back: afterwards the job may have run
 * already, and whoever waited for it may be freeing the pool. */
int fm_pool_submit(struct fm_pool *pool, struct fm_job *job, struct fm_mailbox *home)
{
    FM_ASSERT(job->run && (job->on_done || !home));
    int result = FM_ERR_BUSY;
    lock(pool);
    if (pool->jobs_count < pool->jobs_max && !pool->closing) {
        job->home = home;
        job->message = (struct fm_message){.next = NULL, .on_message = on_message};
        *pool->last = &job->message;
        pool->last = &job->message.next;
        pool->jobs_count += 1;
        int error = pthread_cond_signal(&pool->work);
        FM_ASSERT(error == 0);
        result = 0;
    }
    unlock(pool);
    return result;
}
