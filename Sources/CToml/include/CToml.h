// TOML for Swift: parses a document with toml++ (Debian's libtomlplusplus-dev, TOML 1.0) and hands over every node with
// its kind, value, line and column as one flat list. C only, so that Swift needs no C++ interoperability and no C++
// exception can reach it. Nothing of toml++ shows here.
#ifndef POSTERN_CTOML_H
#define POSTERN_CTOML_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    POSTERN_TOML_TABLE = 1,
    POSTERN_TOML_ARRAY = 2,
    POSTERN_TOML_STRING = 3,
    POSTERN_TOML_INTEGER = 4,
    POSTERN_TOML_FLOAT = 5,
    POSTERN_TOML_BOOLEAN = 6,
    POSTERN_TOML_DATE_TIME = 7, // dates, times and both
};

// Caps; a document beyond one is an error like a syntax error.
enum {
    POSTERN_TOML_MAX_OCTETS = 4 * 1024 * 1024,
    POSTERN_TOML_MAX_NESTED_VALUES = 32, // arrays and inline tables in each other
    POSTERN_TOML_MAX_KEY_PARTS = 16,     // a.b.c has three
};

// One node. Nodes come in document order, a table or array before its children. Lines and columns count from 1;
// columns count code points. Pointers live as long as the document; texts are UTF-8 and not NUL-terminated.
typedef struct {
    int32_t kind;
    int32_t boolean;
    uint32_t line, column; // of the value: for [table] of its header, for a table made by a dotted key of that part
    uint32_t key_line, key_column; // of the key; 0 where there is none
    const char *key;               // NULL in arrays and for the root
    size_t key_octets;
    const char *text; // a string's octets, or a date-time as TOML spells it; else NULL
    size_t text_octets;
    int64_t integer;
    double real;
    size_t children; // of a table or array
} postern_toml_node;

// Why a document could not be read. `text` is UTF-8, NUL-terminated, and may hold octets of the document.
typedef struct {
    uint32_t line, column;
    char text[512];
} postern_toml_error;

typedef struct postern_toml_document postern_toml_document;

// Parses `count` octets. NULL on an error, which is then in `*error`. The caller closes the document; it keeps nothing
// of `octets`.
postern_toml_document *postern_toml_open(const uint8_t *octets, size_t count, postern_toml_error *error);
void postern_toml_close(postern_toml_document *document);

// The nodes; the first is the root table.
const postern_toml_node *postern_toml_nodes(const postern_toml_document *document, size_t *count);

#ifdef __cplusplus
}
#endif

#endif
