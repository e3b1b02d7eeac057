// iostream.cpp - counts the words of its input, sorts them and writes them to a file and back.
#include <algorithm>
#include <cstdio>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

int main(int argc, char **argv)
{
    std::map<std::string, int> counts;
    std::string word;
    while (std::cin >> word)
        counts[word]++;
    std::vector<std::pair<std::string, int>> sorted(counts.begin(), counts.end());
    std::stable_sort(sorted.begin(), sorted.end(),
                     [](const auto &a, const auto &b) { return a.second > b.second; });
    std::ostringstream table;
    for (const auto &[text, count] : sorted)
        table << std::setw(20) << std::left << text << std::hex << std::showbase << count << "\n";

    // The packaged library for WebAssembly has no <fstream>.
    std::FILE *file = std::fopen(argc > 1 ? argv[1] : "counts.txt", "w+");
    if (!file) {
        std::cout << "cannot write" << std::endl;
        return 1;
    }
    std::fputs(table.str().c_str(), file);
    std::rewind(file);
    std::string whole;
    for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file))
        whole += static_cast<char>(c);
    std::fclose(file);
    std::cout << whole << std::fixed << std::setprecision(3)
              << static_cast<double>(whole.size()) / 7 << std::endl;
    std::cerr << counts.size() << " words" << std::endl;
    return counts.empty() ? 3 : 0;
}
