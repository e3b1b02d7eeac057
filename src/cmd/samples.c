/* samples.c - functions that come with the server: <folder>/<user>/<function>.wasm.
 *
 * Installed at start, through the same steps as an upload, where the function is missing or its
 * current version is another file.  So a user's own version of a sample lives until the samples
 * change. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nettle/sha2.h>

#include "base/log.h"
#include "base/name.h"
#include "cmd/server.h"
#include "sched/deploy.h"
#include "store/functions.h"

#define SUFFIX ".wasm"

static int read_file(const char *path, struct fm_buffer *content, struct fm_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        int failed = fm_error_errno(error, errno, "cannot read '%s'", path);
        if (fd >= 0)
            (void)close(fd); /* only read */
        return failed;
    }
    int failed = fm_buffer_reserve(content, (size_t)info.st_size);
    if (failed)
        (void)fm_error_set(error, failed, "'%s': %s", path, fm_err_meaning(failed));
    while (!failed && content->length < (size_t)info.st_size) {
        ssize_t got =
            read(fd, content->data + content->length, (size_t)info.st_size - content->length);
        if (got > 0)
            content->length += (size_t)got;
        else if (got == 0)
            break; /* it has become shorter: what is there is checked like any module */
        else if (errno != EINTR)
            failed = fm_error_errno(error, errno, "cannot read '%s'", path);
    }
    (void)close(fd);
    return failed;
}

static void hash(const struct fm_buffer *content, char text[2 * SHA256_DIGEST_SIZE + 1])
{
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&context);
    sha256_update(&context, content->length, content->data);
    sha256_digest(&context, sizeof(digest), digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static bool is_current(struct fm_server *server, const char *user, const char *function,
                       const struct fm_buffer *content)
{
    char sha256[2 * SHA256_DIGEST_SIZE + 1];
    struct fm_function *known =
        fm_sched_function(server->scheds[0], user, strlen(user), function, strlen(function));
    if (!known)
        return false;
    hash(content, sha256);
    return strcmp(fm_function_version(known)->sha256, sha256) == 0;
}

static int deploy(struct fm_server *server, const char *user, const char *function,
                  const struct fm_buffer *content, struct fm_error *error)
{
    struct fm_upload *upload = NULL;
    struct fm_version wanted = {.user = user, .function = function};
    fm_limits_defaults(&wanted.limits);
    int failed = fm_upload_begin(server->functions, &upload, error);
    if (failed)
        return failed;
    failed = fm_upload_write(upload, content->data, content->length, error);
    if (failed) {
        fm_upload_end(upload);
        return failed;
    }
    struct fm_version *version = NULL;
    failed = fm_deploy_now(server->deployer, upload, &wanted, &version, error);
    return failed ? failed : fm_server_publish(server, version);
}

static void install(struct fm_server *server, const char *path, const char *user,
                    const char *function)
{
    struct fm_error error = {0};
    struct fm_buffer content;
    fm_buffer_init(&content, (size_t)server->config->module_bytes);
    int failed = read_file(path, &content, &error);
    if (!failed && !is_current(server, user, function, &content)) {
        failed = deploy(server, user, function, &content, &error);
        if (!failed)
            fm_log(FM_LOG_INFO, "sample_installed", "user", user, "function", function, NULL);
    }
    if (failed)
        fm_log(FM_LOG_ERROR, "sample_failed", "file", path, "reason",
               error.text[0] ? error.text : fm_err_meaning(failed), NULL);
    fm_buffer_done(&content);
}

static void install_user(struct fm_server *server, const char *folder, const char *user)
{
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, user);
    DIR *files = opendir(path);
    if (!files)
        return; /* not a folder */
    struct dirent *entry = NULL;
    while ((entry = readdir(files)) != NULL) {
        size_t length = strlen(entry->d_name);
        const size_t suffix = sizeof(SUFFIX) - 1;
        if (length <= suffix || strcmp(entry->d_name + length - suffix, SUFFIX) != 0 ||
            !fm_name_valid(entry->d_name, length - suffix))
            continue;
        char function[FM_NAME_LENGTH_MAX + 1];
        (void)snprintf(function, sizeof(function), "%.*s", (int)(length - suffix), entry->d_name);
        (void)snprintf(path, sizeof(path), "%s/%s/%s", folder, user, entry->d_name);
        install(server, path, user, function);
    }
    (void)closedir(files); /* only read */
}

void fm_samples_install(struct fm_server *server, const char *folder)
{
    DIR *users = opendir(folder);
    if (!users) {
        fm_log(FM_LOG_ERROR, "sample_failed", "file", folder, "reason", strerror(errno), NULL);
        return;
    }
    struct dirent *entry = NULL;
    while ((entry = readdir(users)) != NULL)
        if (fm_name_valid(entry->d_name, strlen(entry->d_name)))
            install_user(server, folder, entry->d_name);
    (void)closedir(users); /* only read */
}
