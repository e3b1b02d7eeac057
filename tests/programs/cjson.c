/* cjson.c - the JSON of its input, checked and printed in a form of its own. */
#include <stdio.h>
#include <stdlib.h>

#include "cJSON.h"

int main(void)
{
    static char text[1 << 16];
    size_t length = fread(text, 1, sizeof(text) - 1, stdin);
    text[length] = '\0';
    cJSON *json = cJSON_Parse(text);
    if (!json) {
        printf("wrong at byte %d\n", (int)(cJSON_GetErrorPtr() - text));
        return 1;
    }
    char *printed = cJSON_Print(json);
    puts(printed);
    free(printed);
    cJSON_Delete(json);
    return 0;
}
