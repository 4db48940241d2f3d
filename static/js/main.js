/* Starts the parts of the page. Each listens to what concerns it; none needs another to have come before, except that the
   socket and the swaps must be in place when htmx looks at the page. */

import "./swaps.js";
import "./socket.js";
import "./connection.js";
import "./scroll.js";
import "./older.js";
import "./outbox.js";
import "./queue.js";
import "./queue_drag.js";
import "./composer.js";
import "./attachments.js";
import "./call_output.js";
import "./call_edit.js";
import "./approval.js";
import "./stop.js";
import "./forms.js";
import "./menus.js";
import "./drawer.js";
import "./list.js";
import "./naming.js";
import "./clock.js";
import "./copy.js";
import "./notices.js";
import "./attention.js";
import "./keys.js";
