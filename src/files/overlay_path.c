/* overlay_path.c - from a path to its place.
 *
 * One component after the other, from the folder where the walk starts.  A link's target takes the
 * place of its name in what is still to be walked, so nothing here recurses.  Nothing leads out:
 * `..` is refused in the folder where the walk started, wherever that lies in the overlay, and an
 * absolute path is refused whether it was given or comes from a link. */
#include <errno.h>
#include <string.h>

#include "files/overlay_private.h"

struct walk {
    struct fm_overlay *overlay;
    struct fm_inode *start;
    struct fm_inode *at; /* the folder that was reached */
    unsigned how;
    unsigned links; /* that were followed */
    const char *rest;
    char buffers[2][FM_FILE_PATH_BYTES_MAX + 1]; /* paths that came from links, in turns */
};

/* The next component; what follows it, without the slashes between.  False: there is none. */
static bool next_component(const char *path, size_t *ret_length, const char **ret_after,
                           bool *ret_slash)
{
    size_t length = strcspn(path, "/");
    const char *after = path + length;
    *ret_slash = *after == '/';
    after += strspn(after, "/");
    *ret_length = length;
    *ret_after = after;
    return length > 0;
}

/* The rest of the path becomes the link's target and what came after the link. */
static int follow(struct walk *walk, const struct fm_inode *link, const char *after, bool slash)
{
    if (++walk->links > FM_FILE_LINKS_MAX)
        return -ELOOP;
    if (link->target[0] == '/')
        return -EPERM;
    if (link->target[0] == '\0')
        return -ENOENT;
    size_t target_length = strlen(link->target);
    size_t after_length = strlen(after);
    if (target_length + 1 + after_length > FM_FILE_PATH_BYTES_MAX)
        return -ENAMETOOLONG;
    char *buffer = walk->buffers[walk->links % 2]; /* `after` is in the other, or the caller's */
    memcpy(buffer, link->target, target_length);
    if (slash)
        buffer[target_length++] = '/';
    memcpy(buffer + target_length, after, after_length + 1);
    walk->rest = buffer;
    return 0;
}

static int step_up(struct walk *walk)
{
    if (walk->at == walk->start)
        return -EPERM;
    if (!walk->at->folder.parent)
        return -ENOENT;
    walk->at = walk->at->folder.parent;
    return 0;
}

static bool is_dots(const char *text, size_t length)
{
    return text[0] == '.' && (length == 1 || (length == 2 && text[1] == '.'));
}

static int end_at_dots(struct walk *walk, bool up, struct fm_place *ret_place)
{
    int failed = up ? step_up(walk) : 0;
    if (failed)
        return failed;
    ret_place->folder = NULL;
    ret_place->name = NULL;
    ret_place->inode = walk->at;
    ret_place->dots = up;
    return 0;
}

static bool follows_last(const struct walk *walk, bool slash)
{
    return (walk->how & FM_WALK_FOLLOW) || (slash && (walk->how & FM_WALK_SLASH_FOLLOW));
}

/* One component.  1: the walk is over. */
static int step(struct walk *walk, struct fm_place *ret_place)
{
    size_t length = 0;
    const char *after = NULL;
    bool slash = false;
    const char *text = walk->rest;
    (void)next_component(text, &length, &after, &slash); /* never empty: only slashes were left */
    bool last = *after == '\0';
    if (length > FM_FILE_NAME_BYTES_MAX)
        return -ENAMETOOLONG;
    ret_place->slash = slash;
    if (is_dots(text, length)) {
        walk->rest = after;
        if (last) {
            int failed = end_at_dots(walk, length == 2, ret_place);
            return failed ? failed : 1;
        }
        return length == 2 ? step_up(walk) : 0;
    }

    struct fm_name *name = NULL;
    int failed = fm_folder_find(walk->overlay, walk->at, text, length, &name);
    if (failed && !(failed == -ENOENT && last))
        return failed;
    struct fm_inode *inode = name ? name->inode : NULL;
    if (inode && inode->type == FM_FILE_LINK && (!last || follows_last(walk, slash)))
        return follow(walk, inode, after, slash);
    if (last) {
        ret_place->folder = walk->at;
        ret_place->name = name;
        ret_place->inode = inode;
        ret_place->dots = false;
        memcpy(ret_place->text, text, length);
        ret_place->text[length] = '\0';
        ret_place->text_length = length;
        return 1;
    }
    if (inode->type != FM_FILE_FOLDER)
        return -ENOTDIR;
    walk->at = inode;
    walk->rest = after;
    return 0;
}

int fm_walk(struct fm_overlay *overlay, struct fm_inode *start, const char *path, unsigned how,
            struct fm_place *ret_place)
{
    if (path[0] == '\0')
        return -ENOENT;
    if (path[0] == '/')
        return -EPERM;
    struct walk walk;
    walk.overlay = overlay;
    walk.start = start;
    walk.at = start;
    walk.how = how;
    walk.links = 0;
    walk.rest = path;
    for (;;) {
        int over = step(&walk, ret_place);
        if (over < 0)
            return over;
        if (over)
            return 0;
    }
}
