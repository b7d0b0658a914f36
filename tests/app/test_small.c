/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs on their way to the worker, and files that appear whole. */
#include "app/job.h"
#include "app/output.h"

#include "../test.h"
#include "../tools.h"

#include <fcntl.h>
#include <sys/stat.h>

/* ---- jobs ---- */

static void same_text(const char *a, const char *b)
{
    assert_int_equal(a == NULL, b == NULL);
    if (a != NULL)
        assert_string_equal(a, b);
}

static void fill(struct job *job, struct job_source sources[2])
{
    sources[0] = (struct job_source){.name = (char *)"a.raw", .in_use = true};
    sources[1] = (struct job_source){.name = (char *)"\xff odd",
                                     .guest = (char *)"web",
                                     .fixed = (char *)"",
                                     .format = (char *)"qcow2",
                                     .snapshot = (char *)"s",
                                     .export_name = (char *)"e",
                                     .skip = true};
    *job = (struct job){.kind = JOB_TREE,
                        .n_sources = 2,
                        .sources = sources,
                        .linkage = LINKAGE_COMPLETE,
                        .threshold = 0.1,
                        .plan = true,
                        .sketch = true,
                        .exact = true,
                        .pve = true,
                        .backing_name = (char *)"below"};
}

static void a_job_arrives_as_it_was_sent(void **state)
{
    struct job_source sources[2];
    struct job job, got;
    struct error e;
    AUTO_BUF b = {};
    struct cursor c;

    (void)state;
    fill(&job, sources);
    job_encode(&b, &job);
    c = cursor_of(b.bytes, b.length);
    assert_ok(job_decode(&c, &got, &e), &e);
    assert_int_equal(cursor_left(&c), 0);
    assert_int_equal(got.kind, job.kind);
    assert_int_equal(got.linkage, job.linkage);
    assert_true(got.threshold == 0.1);
    assert_true(got.plan && got.sketch && got.exact && got.pve);
    assert_false(got.all || got.matrix || got.empty || got.storage_config);
    same_text(got.backing_name, "below");
    assert_null(got.backing_format);
    assert_int_equal(got.n_sources, 2);
    for (size_t i = 0; i < 2; i++) {
        same_text(got.sources[i].name, sources[i].name);
        same_text(got.sources[i].guest, sources[i].guest);
        same_text(got.sources[i].fixed, sources[i].fixed);
        same_text(got.sources[i].format, sources[i].format);
        same_text(got.sources[i].snapshot, sources[i].snapshot);
        same_text(got.sources[i].export_name, sources[i].export_name);
        assert_int_equal(got.sources[i].in_use, sources[i].in_use);
        assert_int_equal(got.sources[i].skip, sources[i].skip);
    }
    job_release(&got);
    job_release(&got); /* harmless */
}

static void a_job_that_is_cut_short_is_refused(void **state)
{
    struct job_source sources[2];
    struct job job, got;
    struct error e;
    AUTO_BUF b = {};

    (void)state;
    fill(&job, sources);
    job_encode(&b, &job);
    for (size_t length = 0; length < b.length; length++) {
        struct cursor c = cursor_of(b.bytes, length);

        assert_int_equal(job_decode(&c, &got, &e), -1);
    }
}

/* ---- outputs ---- */

static char top[256];

static int setup(void **state)
{
    (void)state;
    enter_test_folder(top);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    leave_test_folder(top);
    return 0;
}

static void an_output_appears_when_it_is_committed(void **state)
{
    struct output o;
    struct error e;

    (void)state;
    assert_int_equal(run("printf old > file"), 0);
    assert_ok(output_create(&o, "file", &e), &e);
    assert_int_equal(write(o.fd, "new", 3), 3);
    assert_int_equal(run("test $(cat file) = old"), 0);
    assert_ok(output_commit(&o, true, &e), &e);
    assert_int_equal(run("test $(cat file) = new -a \"$(ls -A)\" = file"), 0);
    assert_int_equal(output_commit(&o, true, &e), -1);
    output_release(&o);
}

static void what_is_not_wanted_leaves_nothing(void **state)
{
    struct output o;
    struct error e;

    (void)state;
    assert_ok(output_create(&o, "a", &e), &e);
    assert_ok(output_commit(&o, false, &e), &e);
    assert_ok(output_create(&o, "b", &e), &e);
    output_release(&o);
    output_release(&o);
    assert_int_equal(output_create(&o, "no/where", &e), -1);
    assert_non_null(strstr(e.msg, "no/where"));
    output_release(&o);
    assert_int_equal(run("test -z \"$(ls -A)\""), 0);
}

static void the_name_of_a_folder_cannot_be_taken(void **state)
{
    struct output o;
    struct error e;

    (void)state;
    assert_int_equal(mkdir("folder", 0700), 0);
    if (output_create(&o, "folder", &e) == 0)
        assert_int_equal(output_commit(&o, true, &e), -1);
    assert_non_null(strstr(e.msg, "folder"));
    output_release(&o);
    assert_int_equal(run("test \"$(ls -A)\" = folder"), 0);
}

static void long_names_have_room_for_the_temporary_one(void **state)
{
    struct output o;
    struct error e;
    char name[256];

    (void)state;
    memset(name, 'x', 255);
    name[255] = 0;
    assert_ok(output_create(&o, name, &e), &e);
    assert_ok(output_commit(&o, true, &e), &e);
    assert_int_equal(access(name, F_OK), 0);
}

int main(void)
{
#define OUTPUT_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_arrives_as_it_was_sent),
        cmocka_unit_test(a_job_that_is_cut_short_is_refused),
        OUTPUT_TEST(an_output_appears_when_it_is_committed),
        OUTPUT_TEST(what_is_not_wanted_leaves_nothing),
        OUTPUT_TEST(the_name_of_a_folder_cannot_be_taken),
        OUTPUT_TEST(long_names_have_room_for_the_temporary_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
