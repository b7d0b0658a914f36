/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a fuzz target over the files of its corpus, so that every find stays a test in every build.
 * usage: fuzz-NAME FOLDER|FILE... */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes;
    struct stat st;
    size_t length;

    if (f == NULL || fstat(fileno(f), &st) != 0) {
        perror(path);
        exit(1);
    }
    bytes = malloc((size_t)st.st_size + 1);
    length = fread(bytes, 1, (size_t)st.st_size, f);
    fclose(f);
    fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(bytes, length);
    free(bytes);
    return 1;
}

static int replay_folder(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *entry;
    int n = 0;

    if (d == NULL)
        return replay_file(path);
    while ((entry = readdir(d)) != NULL) {
        char name[4096];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        n += replay_folder(name);
    }
    closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    int n = 0;

    for (int i = 1; i < argc; i++)
        n += replay_folder(argv[i]);
    fprintf(stderr, "%d inputs\n", n);
    return n > 0 ? 0 : 1;
}
