/* Replaces the system resolver; preloaded into the binary under test.
 *
 * The file named by FAKE_HOSTS has a line per name: the name, and its addresses, or "none" for an unknown name,
 * or "wait" for a resolver that does not respond until the line changes. Other names are resolved by the
 * system. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int resolve(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Reads the line of a name; returns 0 if there is none. */
static int look(const char *name, char *line, size_t size) {
    FILE *file = fopen(getenv("FAKE_HOSTS"), "r");
    int found = 0;
    while (file && !found && fgets(line, size, file)) {
        size_t length = strlen(name);
        found = !strncmp(line, name, length) && line[length] == ' ';
    }
    if (file)
        fclose(file);
    return found;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    resolve *real = (resolve *)dlsym(RTLD_NEXT, "getaddrinfo");
    char line[4096], *rest, *word;
    if (!name || !getenv("FAKE_HOSTS") || !look(name, line, sizeof line))
        return real(name, service, hints, found);
    while (strstr(line, " wait")) {
        usleep(5000);
        if (!look(name, line, sizeof line))
            return EAI_NONAME;
    }
    *found = NULL;
    strtok_r(line, " \n", &rest);
    while ((word = strtok_r(NULL, " \n", &rest))) {
        struct addrinfo *one, **end = found;
        if (!strcmp(word, "none"))
            return EAI_NONAME;
        if (real(word, service, hints, &one))
            return EAI_FAIL;
        while (*end)
            end = &(*end)->ai_next;
        *end = one;
    }
    return *found ? 0 : EAI_NONAME;
}
