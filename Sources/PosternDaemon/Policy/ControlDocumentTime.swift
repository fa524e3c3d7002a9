// Times in what the control socket tells.

public import PosternMail

extension ControlDocument {
    /// Whole seconds, rounded up.
    public static func seconds(_ duration: Duration) -> ControlDocument {
        .number(duration.components.seconds + (duration.components.attoseconds > 0 ? 1 : 0))
    }

    /// As in logs.
    public static func time(_ time: UnixTime) -> ControlDocument { .text(LogRendering.timestamp(time)) }
}
