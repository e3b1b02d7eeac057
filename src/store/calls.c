/* calls.c - the store of calls: its life, and how one asks and is answered.
 *
 * Two threads of its own, a writer and a reader, because a worker must never wait for a disk.  One
 * writer is not only what SQLite allows: it is what makes many calls share one fsync.  While one
 * transaction is on its way to the disk the next one gathers.
 *
 *      ask:  prepare -> enter -> put                             (on the asker's thread)
 *                         \--> pool: blobs, fsync -> put
 *      turn: take all -> BEGIN, apply each, COMMIT -> leave, answer each      (on the writer's)
 *
 * Order: blobs are on disk before the row that names them, and go after it is gone.  So a crash
 * leaves blobs without a row, which the next start removes, and never a row without its blobs.
 *
 * Discarded: a store per worker (as many fsyncs as workers, and a call could only be found by
 * asking all of them); writing from the workers with synchronous=OFF and an fsync now and then
 * (acknowledged must mean durable).
 *
 * Lifetime: one struct fm_calls for the process.  Threading: asking from any thread; open, stop and
 * free by the one that owns the store. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "loop/thread.h"
#include "store/calls_private.h"
#include "store/files.h"

void fm_calls_config_defaults(struct fm_calls_config *config)
{
    *config = (struct fm_calls_config){
        .inline_bytes_max = FM_CALLS_INLINE_BYTES_MAX,
        .check_bytes_max = FM_CALLS_CHECK_BYTES_MAX,
        .waiting_bytes_max = FM_CALLS_WAITING_BYTES_MAX,
        .waiting_max = FM_CALLS_WAITING_MAX,
        .batch_max = FM_CALLS_BATCH_MAX,
        .batch_bytes_max = FM_CALLS_BATCH_BYTES_MAX,
    };
}

/* --- life ------------------------------------------------------------------------------------- */

int fm_calls_open(const struct fm_calls_config *config, struct fm_calls **ret_calls,
                  struct fm_calls_notice *ret_notice, struct fm_error *error)
{
    struct fm_calls *calls = NULL;
    int failed = fm_calls_open_idle(config, &calls, ret_notice, error);
    if (failed)
        return failed;
    failed = fm_thread_start(&calls->writer_thread, "faasm-writer", fm_calls_writer, calls);
    if (!failed) {
        calls->threads = 1;
        failed = fm_thread_start(&calls->reader_thread, "faasm-reader", fm_calls_reader, calls);
    }
    if (failed) {
        fm_calls_free(calls);
        return fm_error_set(error, failed, "cannot start a thread for calls.db");
    }
    calls->threads = 2;
    *ret_calls = calls;
    return 0;
}

void fm_calls_stop(struct fm_calls *calls)
{
    if (!calls)
        return;
    fm_inbox_stop(&calls->writes);
    fm_inbox_stop(&calls->reads);
    if (calls->threads > 0) {
        int error = pthread_join(calls->writer_thread, NULL);
        FM_ASSERT(error == 0);
    }
    if (calls->threads > 1) {
        int error = pthread_join(calls->reader_thread, NULL);
        FM_ASSERT(error == 0);
    }
    if (calls->threads == 0) { /* idle, or half made */
        while (fm_calls_writer_turn(calls))
            ;
        while (fm_calls_reader_turn(calls))
            ;
    }
    calls->threads = 0;
}

struct fm_calls *fm_calls_free(struct fm_calls *calls)
{
    if (!calls)
        return NULL;
    fm_calls_stop(calls);
    fm_inbox_done(&calls->writes);
    fm_inbox_done(&calls->reads);
    fm_db_close(&calls->carrier);
    fm_db_close(&calls->reader);
    fm_db_close(&calls->writer);
    fm_files_close(&calls->blobs_fd);
    fm_files_close(&calls->data_fd);
    free(calls->doomed.names);
    free(calls->vfs);
    free(calls->path);
    free(calls);
    return NULL;
}

/* --- writes ----------------------------------------------------------------------------------- */

static void on_written(struct fm_message *message)
{
    struct fm_calls_write *write = FM_CONTAINER_OF(message, struct fm_calls_write, message);
    write->on_done(write);
}

void fm_calls_write_answer(struct fm_calls_write *write)
{
    write->message.on_message = on_written;
    fm_mailbox_post(write->home, &write->message);
}

enum fm_calls_lane fm_calls_write_lane(const struct fm_calls_write *write)
{
    return write->blobs ? write->kind->lane + FM_LANE_LARGE_ACCEPTS : write->kind->lane;
}

/* On the pool.  The write is not ours any more once it is put or answered. */
static void write_blobs(struct fm_job *job)
{
    struct fm_calls_write *write = FM_CONTAINER_OF(job, struct fm_calls_write, job);
    struct fm_calls *calls = write->calls;
    enum fm_calls_lane lane = fm_calls_write_lane(write);
    uint64_t bytes = write->bytes;
    write->error = write->kind->blobs(calls, write);
    if (write->error) {
        fm_calls_write_answer(write);
        fm_inbox_leave(&calls->writes, lane, 1, bytes);
    } else {
        fm_inbox_put(&calls->writes, &write->message);
    }
    fm_inbox_job_done(&calls->writes);
}

static int enter(struct fm_calls *calls, struct fm_calls_write *write)
{
    enum fm_calls_lane lane = fm_calls_write_lane(write);
    if (!write->blobs)
        return fm_inbox_enter_put(&calls->writes, lane, write->bytes, &write->message);
    int failed = fm_inbox_enter(&calls->writes, lane, write->bytes);
    if (failed)
        return failed;
    uint64_t bytes = write->bytes;
    write->job.run = write_blobs;
    failed = fm_inbox_job(&calls->writes, calls->config.pool, &write->job);
    if (failed)
        fm_inbox_leave(&calls->writes, lane, 1, bytes);
    return failed;
}

void fm_calls_write_ask(struct fm_calls *calls, struct fm_calls_write *write,
                        const struct fm_calls_kind *kind, struct fm_mailbox *home)
{
    FM_ASSERT(write->on_done && home);
    write->error = 0;
    write->home = home;
    write->calls = calls;
    write->kind = kind;
    write->bytes = 0;
    write->inline_bytes = 0;
    write->blobs = false;
    int failed = kind->prepare(calls, write);
    if (!failed)
        failed = enter(calls, write);
    if (failed) { /* never taken, so it is still ours */
        write->error = failed;
        fm_calls_write_answer(write);
    }
}

/* --- reads ------------------------------------------------------------------------------------ */

static void on_read(struct fm_message *message)
{
    struct fm_calls_read *read = FM_CONTAINER_OF(message, struct fm_calls_read, message);
    read->on_done(read);
}

void fm_calls_read_answer(struct fm_calls *calls, struct fm_calls_read *read)
{
    read->message.on_message = on_read;
    fm_mailbox_post(read->home, &read->message);
    fm_inbox_leave(&calls->reads, FM_LANE_OTHERS, 1, 0);
}

void fm_calls_read_ask(struct fm_calls *calls, struct fm_calls_read *read,
                       const struct fm_calls_question *question, struct fm_mailbox *home)
{
    FM_ASSERT(read->on_done && home);
    read->error = 0;
    read->home = home;
    read->calls = calls;
    read->question = question;
    read->again = false;
    int failed = fm_inbox_enter_put(&calls->reads, FM_LANE_OTHERS, 0, &read->message);
    if (failed) {
        read->error = failed;
        read->message.on_message = on_read;
        fm_mailbox_post(read->home, &read->message);
    }
}
