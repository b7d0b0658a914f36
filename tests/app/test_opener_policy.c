/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which files an image may name, tried with real ones. */
#include "app/opener.h"

#include "../test.h"
#include "../tools.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static char top[256];
static char image[300], sibling[300], elsewhere[300], deep[300];

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, path, strlen(path)), strlen(path));
    close(fd);
}

/* TOP/images/{image,sibling,below/deep}, TOP/elsewhere/base */
static int setup(void **state)
{
    (void)state;
    enter_test_folder(top);
    assert_int_equal(mkdir("images", 0700) | mkdir("images/below", 0700) | mkdir("elsewhere", 0700),
                     0);
    snprintf(image, sizeof image, "%s/images/image", top);
    snprintf(sibling, sizeof sibling, "%s/images/sibling", top);
    snprintf(deep, sizeof deep, "%s/images/below/deep", top);
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere/base", top);
    make_file(image);
    make_file(sibling);
    make_file(deep);
    make_file(elsewhere);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    leave_test_folder(top);
    return 0;
}

/* The code of the error, or ERR_NONE when the file `expected` was opened. */
static enum err_code named_code(struct opener *o, const char *name, const char *expected)
{
    struct opened opened;
    struct error e;
    struct stat a, b;

    if (opener_open_named(o, image, name, &opened, &e) != 0)
        return e.code;
    assert_string_equal(opened.resolved, expected);
    assert_int_equal(fstat(opened.fd, &a) | stat(expected, &b), 0);
    assert_true(a.st_dev == b.st_dev && a.st_ino == b.st_ino);
    assert_int_equal(opened.identity.inode, b.st_ino);
    assert_int_equal(fcntl(opened.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(fcntl(opened.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    opened_release(&opened);
    assert_int_equal(opened.fd, -1);
    return ERR_NONE;
}

static enum err_code named(const char *name, const char *expected)
{
    struct error e;
    AUTO(opener) *o = opener_new(&e);

    assert_non_null(o);
    return named_code(o, name, expected);
}

static void files_beside_the_image_are_followed(void **state)
{
    (void)state;
    assert_int_equal(named("sibling", sibling), ERR_NONE);
    assert_int_equal(named("./sibling", sibling), ERR_NONE);
    assert_int_equal(named(sibling, sibling), ERR_NONE);
    assert_int_equal(named("below/../sibling", sibling), ERR_NONE);
    assert_int_equal(named("image", image), ERR_NONE); /* circles are somebody else's concern */
}

static void files_elsewhere_are_not(void **state)
{
    (void)state;
    assert_int_equal(named("below/deep", deep), ERR_DENIED);
    assert_int_equal(named("../elsewhere/base", elsewhere), ERR_DENIED);
    assert_int_equal(named(elsewhere, elsewhere), ERR_DENIED);
    assert_int_equal(named("/etc/passwd", "/etc/passwd"), ERR_DENIED);
    assert_int_not_equal(named("/proc/self/mem", ""), ERR_NONE);
    assert_int_equal(named("gone", ""), ERR_NOT_FOUND);
    assert_int_not_equal(named("sibling/x", ""), ERR_NONE);
}

static void the_real_place_counts_not_the_name(void **state)
{
    char linked[300];

    (void)state;
    assert_int_equal(symlink("../elsewhere/base", "images/link"), 0);
    assert_int_equal(symlink("../elsewhere", "images/folder"), 0);
    assert_int_equal(symlink("sibling", "images/near"), 0);
    assert_int_equal(symlink("nowhere", "images/dangling"), 0);
    assert_int_equal(symlink("loop", "images/loop"), 0);
    assert_int_equal(named("link", elsewhere), ERR_DENIED);
    assert_int_equal(named("folder/base", elsewhere), ERR_DENIED);
    assert_int_equal(named("near", sibling), ERR_NONE);
    assert_int_equal(named("dangling", ""), ERR_NOT_FOUND);
    assert_int_equal(named("loop", ""), ERR_IO);
    /* a hard link lies where it lies */
    assert_int_equal(link("elsewhere/base", "images/hard"), 0);
    snprintf(linked, sizeof linked, "%s/images/hard", top);
    assert_int_equal(named("hard", linked), ERR_NONE);
}

static void a_folder_whose_name_begins_alike_is_another(void **state)
{
    struct error e;
    char path[300];
    AUTO(opener) *o = opener_new(&e);

    (void)state;
    assert_int_equal(mkdir("elsewhere2", 0700), 0);
    snprintf(path, sizeof path, "%s/elsewhere2/base", top);
    make_file(path);
    assert_ok(opener_allow_folder(o, "elsewhere", &e), &e);
    assert_int_equal(named_code(o, path, path), ERR_DENIED);
    assert_int_equal(named_code(o, elsewhere, elsewhere), ERR_NONE);
}

static void what_the_user_allows_is_followed(void **state)
{
    struct error e;
    AUTO(opener) *files = opener_new(&e);
    AUTO(opener) *folders = opener_new(&e);
    AUTO(opener) *root = opener_new(&e);

    (void)state;
    assert_ok(opener_allow_file(files, "elsewhere/base", &e), &e);
    assert_int_equal(named_code(files, "../elsewhere/base", elsewhere), ERR_NONE);
    assert_int_equal(named_code(files, "below/deep", deep), ERR_DENIED);
    assert_int_equal(symlink("images", "pictures"), 0);
    assert_ok(opener_allow_folder(folders, "pictures", &e), &e); /* links are resolved at once */
    assert_int_equal(named_code(folders, "below/deep", deep), ERR_NONE);
    assert_int_equal(named_code(folders, elsewhere, elsewhere), ERR_DENIED);
    assert_ok(opener_allow_folder(root, "/", &e), &e);
    assert_int_equal(named_code(root, elsewhere, elsewhere), ERR_NONE);
    assert_int_equal(opener_allow_file(files, "gone", &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_int_equal(opener_allow_folder(files, "gone", &e), -1);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_int_equal(opener_allow_folder(files, image, &e), -1);
    assert_int_equal(e.code, ERR_USAGE);
}

static void the_message_names_the_option_that_would_allow_it(void **state)
{
    struct error e;
    struct opened opened;
    char option[300];
    AUTO(opener) *o = opener_new(&e);

    (void)state;
    snprintf(option, sizeof option, "--allow-backing=%s/elsewhere ", top);
    assert_int_equal(opener_open_named(o, image, "../elsewhere/base", &opened, &e), -1);
    assert_non_null(strstr(e.msg, option));
}

static void only_files_and_block_devices_are_opened(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "images/socket"};
    static const char *const odd[] = {"pipe", "socket", "below", "/dev/null", "/dev/tty"};
    struct error e;
    struct opened opened;
    AUTO(opener) *o = opener_new(&e);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(mkfifo("images/pipe", 0600), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_ok(opener_allow_folder(o, "/", &e), &e);
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        if (access(odd[i], F_OK) != 0 && odd[i][0] == '/')
            continue;
        assert_int_equal(opener_open_named(o, image, odd[i], &opened, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
        assert_int_equal(chdir("images"), 0);
        assert_int_equal(opener_open(o, odd[i], &opened, &e), -1);
        assert_int_equal(e.code, ERR_FORMAT);
        assert_int_equal(chdir(".."), 0);
    }
    close(fd);
}

static void what_another_process_writes_is_known(void **state)
{
    struct error e;
    struct opened opened;
    /* QEMU's block/file-posix.c: byte 100 + BLK_PERM_WRITE, shared by all that write */
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
    AUTO(opener) *o = opener_new(&e);
    AUTO_FD int held = open(image, O_RDWR);

    (void)state;
    assert_ok(opener_open(o, image, &opened, &e), &e);
    assert_false(opened.in_use);
    opened_release(&opened);
    assert_int_equal(fcntl(held, F_OFD_SETLK, &lock), 0);
    assert_ok(opener_open(o, image, &opened, &e), &e);
    assert_true(opened.in_use);
    /* and we hold none: it can be made exclusive */
    lock.l_type = F_WRLCK;
    lock.l_start = 0;
    lock.l_len = 0;
    assert_int_equal(fcntl(held, F_OFD_SETLK, &lock), 0);
    opened_release(&opened);
}

int main(void)
{
#define OPENER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        OPENER_TEST(files_beside_the_image_are_followed),
        OPENER_TEST(files_elsewhere_are_not),
        OPENER_TEST(the_real_place_counts_not_the_name),
        OPENER_TEST(a_folder_whose_name_begins_alike_is_another),
        OPENER_TEST(what_the_user_allows_is_followed),
        OPENER_TEST(the_message_names_the_option_that_would_allow_it),
        OPENER_TEST(only_files_and_block_devices_are_opened),
        OPENER_TEST(what_another_process_writes_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
