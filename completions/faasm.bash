# bash completion for faasm: `. completions/faasm.bash`, or a copy as
# /usr/share/bash-completion/completions/faasm. Needs nothing else; tests/test_docs.py holds it
# against src/cmd/.

# Completes the present word ($1) with one of the words in $2.
_faasm_words() {
    mapfile -t COMPREPLY < <(compgen -W "$2" -- "$1")
}

# The same with names that are followed by `=` and a value, which is the user's to type.
_faasm_names() {
    mapfile -t COMPREPLY < <(compgen -W "$2" -S = -- "$1")
    compopt -o nospace 2>/dev/null
}

_faasm_files() {
    mapfile -t COMPREPLY < <(compgen "$2" -- "$1")
    compopt -o filenames 2>/dev/null
}

_faasm() {
    local word=${COMP_WORDS[COMP_CWORD]}
    local before=${COMP_WORDS[COMP_CWORD - 1]}
    local verb=${COMP_WORDS[1]}
    local limits="memory_bytes file_bytes input_bytes output_bytes chain_fanout cpu_ms wall_ms"
    local settings="listen data samples workers slots queue_length await_depth
        memory_bytes_max guest_stack_bytes keep_resident_bytes keep_total_bytes
        warm_slots page_scanning module_bytes modules_bytes
        user_file_bytes files_memory_bytes builds compile_cache connections header_bytes header_ms body_ms cancel_on_half_close retention_ms records
        records_bytes stored_calls stored_bytes recent_bytes metrics_users drain_ms"

    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        _faasm_words "$word" "serve run new --help --version"
        return
    fi
    case $verb:$before in
    *:=) ;; # bash takes what follows it for a word of its own
    serve:--data | serve:--samples) _faasm_files "$word" -d ;;
    serve:--config) _faasm_files "$word" -f ;;
    serve:--set) _faasm_names "$word" "$settings" ;;
    serve:--listen | serve:--workers) ;;
    serve:*)
        _faasm_words "$word" \
            "--listen --data --samples --workers --config --set --insecure --check --help"
        ;;
    run:--limit) _faasm_names "$word" "$limits" ;;
    run:--coredump) _faasm_files "$word" -f ;;
    run:--dir | run:--files) _faasm_files "$word" -d ;;
    run:--env) ;;
    run:*)
        case $word in
        -*) _faasm_words "$word" "--coredump --dir --files --env --limit --help" ;;
        *) _faasm_files "$word" -f ;;
        esac
        ;;
    new:new) _faasm_words "$word" "c cpp js rust zig --help" ;;
    new:*) [ "$COMP_CWORD" -ne 2 ] || _faasm_words "$word" "--help" ;;
    esac
}

complete -F _faasm faasm
