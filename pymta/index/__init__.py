"""index: what was found out about messages, kept beside them so that nobody has to read them twice.

    files      the two files of one folder: look up, append
    describe   all that is kept of one message, from its octets
    children   processes that read many messages at once
    copying    what is known of copies
    describing what FETCH asks: the index where it knows, the messages where it does not
"""
