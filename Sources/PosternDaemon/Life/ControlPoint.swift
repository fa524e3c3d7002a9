// The control socket of a running daemon, with its thread. A daemon without one works on: it cannot be asked, and its
// log says why.

import Glibc
import PosternMail
import PosternSocket

struct ControlPoint {
    private let server: ControlServer?
    /// Ours to remove; nil when systemd's or none.
    private let file: Endpoint?

    /// Opens it, or takes the socket named `control` from systemd, and begins to answer.
    /// - Parameter folder: `listen.control`.
    init(_ desk: ControlDesk, folder: String, sockets: ActivatedSockets) {
        let endpoint = ControlSocket.endpoint(folder: folder, program: desk.program)
        let activated = sockets.takeOne("control", log: desk.log)
        do throws(SocketError) {
            let listener: Socket
            if let activated {
                listener = Socket(owning: activated.descriptor)
            } else {
                listener = try Socket.listen(endpoint, mode: ControlSocket.mode, backlog: ControlSocket.backlog)
            }
            let program = desk.program
            // The page of metrics is made by a user that may ask for numbers and nothing else.
            let readers = UserIdentity(named: MetricsReader.user).map { [$0.uid] } ?? []
            let server = try ControlServer(
                listener: listener,
                readers: ControlServer.Readers(users: Set(readers), requests: [MetricsDocument.command]),
                answer: { desk.answer($0) },
                refuse: { ControlDesk.refusal($0, program: program) })
            try Thread.start(name: "control") { server.run() }.detach()
            self.server = server
            file = activated == nil ? endpoint : nil
        } catch {
            desk.log.warning("\(error); going on without the control socket, which postern status and reload ask")
            (server, file) = (nil, nil)
        }
    }

    func stop() {
        server?.stop()
        if let file { Socket.removeFile(of: file) }
    }
}
