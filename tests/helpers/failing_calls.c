// Lets one call to the system fail: preloaded into a process, it stands before the C library.
//
// Counted are calls on files below FAIL_BELOW: those that change something and, if FAIL_READS is
// set, those that open a file to read it. FAIL_LOG gets a line for each. The one with the number
// FAIL_AT fails with FAIL_ERRNO; if FAIL_ON is set, all after it fail as well.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define MODE_OF(flags)                                     \
  ({                                                       \
    mode_t mode = 0;                                       \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                 \
      va_list arguments;                                   \
      va_start(arguments, flags);                          \
      mode = va_arg(arguments, mode_t);                    \
      va_end(arguments);                                   \
    }                                                      \
    mode;                                                  \
  })

static int count = 0;

static int number(const char *name) {
  const char *value = getenv(name);
  return value ? atoi(value) : 0;
}

static void note(int now, const char *call, const char *path) {
  const char *log = getenv("FAIL_LOG");
  char line[PATH_MAX + 64];
  if (!log) return;
  int length = snprintf(line, sizeof line, "%d %s %s\n", now, call, path);
  int file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  syscall(SYS_write, file, line, length);
  syscall(SYS_close, file);
}

static int fails(const char *call, int folder, const char *path) {
  const char *below = getenv("FAIL_BELOW");
  char whole[PATH_MAX] = "";
  if (!below) return 0;
  int kept = errno;
  if ((!path || path[0] != '/') && folder >= 0) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, whole, sizeof whole - 1);
    whole[length > 0 ? length : 0] = 0;
  }
  if (path) {
    size_t used = strlen(whole);
    snprintf(whole + used, sizeof whole - used, used ? "/%s" : "%s", path);
  }
  errno = kept;
  if (strncmp(whole, below, strlen(below))) return 0;
  int now = __sync_add_and_fetch(&count, 1), at = number("FAIL_AT");
  note(now, call, whole);
  if (!at || now < at || (now > at && !getenv("FAIL_ON"))) return 0;
  errno = number("FAIL_ERRNO");
  return 1;
}

static int opening_fails(int folder, const char *path, int flags) {
  int reads = !(flags & (O_WRONLY | O_RDWR | O_CREAT));
  if (reads && !getenv("FAIL_READS")) return 0;
  return fails(reads ? "open to read" : "open", folder, path);
}

#define OPEN(name)                                                    \
  int name(const char *path, int flags, ...) {                        \
    mode_t mode = MODE_OF(flags);                                     \
    if (opening_fails(AT_FDCWD, path, flags)) return -1;              \
    return REAL(name)(path, flags, mode);                             \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                  \
  int name(int folder, const char *path, int flags, ...) {            \
    mode_t mode = MODE_OF(flags);                                     \
    if (opening_fails(folder, path, flags)) return -1;                \
    return REAL(name)(folder, path, flags, mode);                     \
  }
OPENAT(openat)
OPENAT(openat64)

#define CALL(type, name, parameters, arguments, folder, path)         \
  type name parameters {                                              \
    if (fails(#name, folder, path)) return -1;                        \
    return REAL(name) arguments;                                      \
  }
CALL(ssize_t, write, (int f, const void *b, size_t n), (f, b, n), f, NULL)
CALL(ssize_t, pwrite, (int f, const void *b, size_t n, off_t o), (f, b, n, o), f, NULL)
CALL(ssize_t, pwrite64, (int f, const void *b, size_t n, off64_t o), (f, b, n, o), f, NULL)
CALL(ssize_t, writev, (int f, const struct iovec *v, int n), (f, v, n), f, NULL)
CALL(ssize_t, pwritev, (int f, const struct iovec *v, int n, off_t o), (f, v, n, o), f, NULL)
CALL(ssize_t, pwritev64, (int f, const struct iovec *v, int n, off64_t o), (f, v, n, o), f, NULL)
CALL(int, fsync, (int f), (f), f, NULL)
CALL(int, fdatasync, (int f), (f), f, NULL)
CALL(int, ftruncate, (int f, off_t n), (f, n), f, NULL)
CALL(int, ftruncate64, (int f, off64_t n), (f, n), f, NULL)
CALL(int, rename, (const char *a, const char *b), (a, b), AT_FDCWD, b)
CALL(int, renameat, (int d, const char *a, int e, const char *b), (d, a, e, b), e, b)
CALL(int, link, (const char *a, const char *b), (a, b), AT_FDCWD, b)
CALL(int, symlink, (const char *a, const char *b), (a, b), AT_FDCWD, b)
CALL(int, mkdir, (const char *p, mode_t m), (p, m), AT_FDCWD, p)
CALL(int, mkdirat, (int d, const char *p, mode_t m), (d, p, m), d, p)
CALL(int, unlink, (const char *p), (p), AT_FDCWD, p)
CALL(int, unlinkat, (int d, const char *p, int f), (d, p, f), d, p)
CALL(int, rmdir, (const char *p), (p), AT_FDCWD, p)
