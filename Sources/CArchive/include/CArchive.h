// libarchive for Swift: writing and reading compressed tar files. Source: archive_read(3), archive_write(3),
// archive_entry(3).
//
// Its own headers include <sys/stat.h>, whose `struct stat` Swift would then take for this module's in all of
// PosternAdmin. So what we call is declared here, and CArchive.c has the compiler compare it with those headers.
#ifndef POSTERN_CARCHIVE_H
#define POSTERN_CARCHIVE_H

#include <stddef.h>
#include <stdint.h>

struct archive;
struct archive_entry;

#define PST_ARCHIVE_OK 0
#define PST_ARCHIVE_EOF 1
#define PST_ARCHIVE_FILTER_ZSTD 14
static const unsigned int PST_AE_IFREG = 0100000;

typedef long pst_archive_write_callback(struct archive *, void *reference, const void *octets, size_t count);
typedef long pst_archive_read_callback(struct archive *, void *reference, const void **octets);
typedef int pst_archive_open_callback(struct archive *, void *reference);
typedef int pst_archive_close_callback(struct archive *, void *reference);

const char *archive_error_string(struct archive *);

struct archive *archive_write_new(void);
int archive_write_free(struct archive *);
int archive_write_set_format_pax_restricted(struct archive *);
int archive_write_set_format_option(struct archive *, const char *format, const char *option, const char *value);
int archive_write_add_filter_zstd(struct archive *);
int archive_write_set_bytes_in_last_block(struct archive *, int octets);
int archive_write_open(struct archive *, void *reference, pst_archive_open_callback *, pst_archive_write_callback *,
                       pst_archive_close_callback *);
int archive_write_header(struct archive *, struct archive_entry *);
long archive_write_data(struct archive *, const void *octets, size_t count);
int archive_write_close(struct archive *);

struct archive *archive_read_new(void);
int archive_read_free(struct archive *);
int archive_read_support_filter_zstd(struct archive *);
int archive_read_support_format_tar(struct archive *);
int archive_read_set_format_option(struct archive *, const char *format, const char *option, const char *value);
int archive_read_open(struct archive *, void *reference, pst_archive_open_callback *, pst_archive_read_callback *,
                      pst_archive_close_callback *);
int archive_filter_code(struct archive *, int number);
int64_t archive_filter_bytes(struct archive *, int number);
int archive_read_next_header(struct archive *, struct archive_entry **);
long archive_read_data(struct archive *, void *octets, size_t count);

struct archive_entry *archive_entry_new(void);
void archive_entry_free(struct archive_entry *);
void archive_entry_set_pathname(struct archive_entry *, const char *);
void archive_entry_set_size(struct archive_entry *, int64_t);
void archive_entry_set_filetype(struct archive_entry *, unsigned int);
void archive_entry_set_perm(struct archive_entry *, unsigned int);
void archive_entry_set_uname(struct archive_entry *, const char *);
void archive_entry_set_gname(struct archive_entry *, const char *);
void archive_entry_set_mtime(struct archive_entry *, long seconds, long nanoseconds);
const char *archive_entry_pathname(struct archive_entry *);
const char *archive_entry_hardlink(struct archive_entry *);
const char *archive_entry_symlink(struct archive_entry *);
unsigned int archive_entry_filetype(struct archive_entry *);
int64_t archive_entry_size(struct archive_entry *);
int archive_entry_size_is_set(struct archive_entry *);
int archive_entry_sparse_count(struct archive_entry *);

#endif
