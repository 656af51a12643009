def write_docs(rows, page, picture):
    return ''
