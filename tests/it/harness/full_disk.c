/* A disk that is full while the file FULL_DISK exists: a write that would make a file longer fails with
 * ENOSPC. Other writes succeed, as on a real disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static int fits(int fd, off_t end) {
    const char *flag = getenv("FULL_DISK");
    struct stat file;
    if (!flag || fstat(fd, &file) || !S_ISREG(file.st_mode) || end <= file.st_size)
        return 1;
    int saved = errno;
    int is_full = access(flag, F_OK) == 0;
    errno = is_full ? ENOSPC : saved;
    return !is_full;
}

static off_t length(const struct iovec *parts, int count) {
    off_t all = 0;
    for (int i = 0; i < count; i++)
        all += (off_t)parts[i].iov_len;
    return all;
}

#define REAL(name) (*(__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t count) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at >= 0 && !fits(fd, at + (off_t)count) ? -1 : REAL(write)(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return fits(fd, at + (off_t)count) ? REAL(pwrite)(fd, bytes, count, at) : -1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return fits(fd, at + (off_t)count) ? REAL(pwrite64)(fd, bytes, count, at) : -1;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return fits(fd, at + length(parts, count)) ? REAL(pwritev)(fd, parts, count, at) : -1;
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    return fits(fd, at + length(parts, count)) ? REAL(pwritev64)(fd, parts, count, at) : -1;
}

int posix_fallocate(int fd, off_t at, off_t count) {
    return fits(fd, at + count) ? REAL(posix_fallocate)(fd, at, count) : ENOSPC;
}

int posix_fallocate64(int fd, off64_t at, off64_t count) {
    return fits(fd, at + count) ? REAL(posix_fallocate64)(fd, at, count) : ENOSPC;
}
