/* files.h - what the handlers of /files/ share.  Private to http/. */
#pragma once

#include "http/json.h"
#include "http/routes.h"

struct fm_node;

/* Checks user and path of the request; with `file` there must be a path, which does not end in a
 * slash.  FM_ERR_BAD_NAME. */
FM_MUST_CHECK int fm_files_check(struct fm_request *request, bool file);

static inline const char *fm_files_user(const struct fm_request *request)
{
    return request->target.segments[1].text;
}

static inline const char *fm_files_path(const struct fm_request *request) /* "": all of the user */
{
    return (const char *)request->path.data;
}

/* Which part of a folder is to be listed: `?limit=&after=`. */
struct fm_file_page {
    unsigned seen; /* parameters, a bit each */
    uint32_t limit;
    char *after; /* from malloc; NULL: from the beginning */
};

/* FM_ERR_BAD_REQUEST, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_file_page_parse(struct fm_request *request, struct fm_file_page *page);
FM_MUST_CHECK int fm_file_page_write(const struct fm_file_page *page, const struct fm_node *folder,
                                     struct fm_buffer *text);
