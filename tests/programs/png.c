/* png.c - writes an image, reads it back, and tells what is wrong with a file that is none. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <png.h>

#define SIZE 64

static void complain(png_structp png, png_const_charp text)
{
    printf("libpng: %s\n", text);
    png_longjmp(png, 1);
}

static int write_image(const char *path)
{
    FILE *file = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, complain, NULL);
    png_infop info = png_create_info_struct(png);
    if (!file || setjmp(png_jmpbuf(png)))
        return 1;
    png_init_io(png, file);
    png_set_IHDR(png, info, SIZE, SIZE, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_ADAM7,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    static png_byte data[SIZE][SIZE * 3];
    png_bytep rows[SIZE];
    for (int y = 0; y < SIZE; y++) {
        rows[y] = data[y];
        for (int x = 0; x < SIZE * 3; x++)
            data[y][x] = (png_byte)(x * y / 3 ^ x);
    }
    png_set_rows(png, info, rows);
    png_write_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    png_destroy_write_struct(&png, &info);
    return fclose(file);
}

static int read_image(const char *path)
{
    FILE *file = fopen(path, "rb");
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, complain, NULL);
    png_infop info = png_create_info_struct(png);
    if (!file || setjmp(png_jmpbuf(png))) {
        png_destroy_read_struct(&png, &info, NULL);
        return 1;
    }
    png_init_io(png, file);
    png_read_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    unsigned long sum = 0;
    png_bytepp rows = png_get_rows(png, info);
    for (png_uint_32 y = 0; y < png_get_image_height(png, info); y++)
        for (png_size_t x = 0; x < png_get_rowbytes(png, info); x++)
            sum = (sum * 31 + rows[y][x]) % 1000003;
    printf("%s: %ux%u, %lu\n", path, (unsigned)png_get_image_width(png, info),
           (unsigned)png_get_image_height(png, info), sum);
    png_destroy_read_struct(&png, &info, NULL);
    return fclose(file);
}

int main(int argc, char **argv)
{
    int failed = write_image("made.png") + read_image("made.png");
    for (int i = 1; i < argc; i++)
        failed += read_image(argv[i]);
    printf("%d failed\n", failed);
    return 0;
}
