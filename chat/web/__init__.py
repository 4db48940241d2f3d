"""The edge: frames, pages, addresses. Parses, authorises, applies, renders; decides nothing."""
