"""index: what was found out about messages, kept beside them so that nobody has to read them twice.

    files      the two files of one folder: look up, append
    describe   all that is kept of one message, from its octets
    children   processes that read many messages at once
    copying    what is known of copies
    describing what FETCH asks: the index where it knows, the messages where it does not

    searching  one search key about text: what is kept is looked through, the rest is read, and kept
    matching   which messages of a block hold what it asks for
    textfile   one file of text of a folder: its blocks, append
    textwork   what is looked through of some messages, as blocks: here or in children
"""
