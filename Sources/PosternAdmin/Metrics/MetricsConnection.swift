// One client of the metrics page: its request comes, waits for the page, its answer goes. Lives on the server's thread.

internal import Glibc
internal import PosternMail
internal import PosternSocket

final class MetricsConnection {
    private enum State {
        case reading
        /// A request, or what was none, that is not answered yet.
        case asked(Result<HTTPRequest, HTTPFault>)
        case answering(ArraySlice<UInt8>)
        /// All was sent; what still comes is thrown away until the client closes.
        case closing
        case done
    }

    private let socket: Socket
    private let limits: MetricsServer.Limits
    private var state = State.reading
    private var input: [UInt8] = []
    private(set) var deadline: MonotonicTime
    /// When its request was whole.
    private(set) var askedAt = MonotonicTime.never

    init(_ socket: consuming Socket, _ limits: MetricsServer.Limits) {
        self.socket = socket
        self.limits = limits
        deadline = .after(limits.requestTime)
    }

    var isDone: Bool { if case .done = state { true } else { false } }
    /// Has not asked yet, or does not read: may lose its place to another.
    var isIdle: Bool {
        switch state {
        case .reading, .answering, .closing, .done: true
        case .asked: false
        }
    }
    /// What it waits for.
    var asked: Result<HTTPRequest, HTTPFault>? { if case .asked(let asked) = state { asked } else { nil } }

    var entry: pollfd {
        let events: Int32 =
            switch state {
            case .reading, .closing: POLLIN
            case .answering: POLLOUT
            case .asked, .done: 0  // that the client has gone is told all the same
            }
        return pollfd(fd: isDone ? -1 : socket.descriptor, events: Int16(events), revents: 0)
    }

    /// - Parameter events: of poll(2).
    func advance(_ events: Int16) {
        switch state {
        case .reading: read()
        case .asked: if Int32(events) & (POLLHUP | POLLERR) != 0 { state = .done }
        case .answering: write()
        case .closing: discard()
        case .done: break
        }
    }

    func checkTime() {
        guard deadline.isPast else { return }
        if case .reading = state {
            // Who has said nothing at all wants no answer.
            state = input.isEmpty ? .done : .asked(.failure(.timeout))
            deadline = .never
        } else {
            state = .done
        }
    }

    func answer(_ response: HTTPResponse, withBody: Bool, at now: UnixTime) {
        state = .answering(response.octets(withBody: withBody, at: now)[...])
        deadline = .after(limits.answerTime)
        write()
    }

    private func read() {
        let known = input.count
        do throws(SocketError) {
            switch try socket.receive(into: &input, atMost: HTTPRequest.maxHeadOctets - known) {
            case .nothingYet: return
            case .endOfStream: state = .done  // half a request
            case .octets: take(known)
            }
        } catch {
            state = .done  // the client is gone
        }
    }

    private func take(_ known: Int) {
        let asked: Result<HTTPRequest, HTTPFault>
        if !HTTPRequest.canBegin(input) {
            asked = .failure(.badRequest)
        } else if let end = HTTPRequest.end(of: input, known: known) {
            do throws(HTTPFault) { asked = .success(try HTTPRequest(head: input[..<end])) } catch {
                asked = .failure(error)
            }
        } else if input.count >= HTTPRequest.maxHeadOctets {
            asked = .failure(.headTooLarge)
        } else {
            return
        }
        state = .asked(asked)
        askedAt = .now()
        deadline = .never  // what it waits for ends by itself (MetricsCollector)
    }

    private func write() {
        guard case .answering(var rest) = state else { return }
        state = .done  // so that the octets have one owner
        do throws(SocketError) {
            while !rest.isEmpty {
                let count = try socket.send(rest)
                rest = rest.dropFirst(count)
                if count == 0 { break }
            }
        } catch {
            return  // the client is gone
        }
        guard rest.isEmpty else {
            state = .answering(rest)
            return
        }
        socket.finishWriting()
        state = .closing
        deadline = .after(limits.closingTime)
        input = []
    }

    private func discard() {
        var thrown: [UInt8] = []
        do throws(SocketError) {
            switch try socket.receive(into: &thrown) {
            case .nothingYet, .octets: break  // until the deadline at most
            case .endOfStream: state = .done
            }
        } catch {
            state = .done
        }
    }
}
